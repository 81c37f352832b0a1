//! Medians, and what the machine allows at best.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// Samples of a time, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, millis: f64) {
        self.0.push(millis);
    }

    pub(crate) fn at(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[(sorted.len() * percent).div_ceil(100).clamp(1, sorted.len()) - 1]
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// One flush to the device and one round trip on the loopback, medians of many, in milliseconds:
/// whatever is recorded and acknowledged takes both at least once.
pub(crate) fn floor(dir: &Path) -> f64 {
    let (mut flushes, mut trips) = (Samples::default(), Samples::default());
    let mut file = std::fs::File::create(dir.join("floor")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let echo = std::thread::spawn(move || {
        let mut message = [0; 256];
        while far.read_exact(&mut message).is_ok() && far.write_all(&message).is_ok() {}
    });
    for _ in 0..200 {
        let start = Instant::now();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        flushes.add(millis(start.elapsed()));
        let (start, mut message) = (Instant::now(), [9; 256]);
        near.write_all(&message).unwrap();
        near.read_exact(&mut message).unwrap();
        trips.add(millis(start.elapsed()));
    }
    drop(near);
    echo.join().unwrap();
    println!("one flush {:.3} ms + one round trip {:.3} ms (medians)", flushes.at(50), trips.at(50));
    flushes.at(50) + trips.at(50)
}

/// Prints one line: median and 99th percentile beside a deadline and the floor.
pub(crate) fn line(what: &str, samples: &Samples, deadline_ms: f64, floor_ms: f64) {
    let (median, p99) = (samples.at(50), samples.at(99));
    println!(
        "{what:<46} {median:9.1} {p99:9.1} {deadline_ms:9.0} {:8.3} {:8.1} {:5}",
        p99 / deadline_ms,
        median / floor_ms,
        samples.len()
    );
}

pub(crate) fn head() {
    println!(
        "{:<46} {:>9} {:>9} {:>9} {:>8} {:>8} {:>5}",
        "from signal to the last acknowledgement", "p50 ms", "p99 ms", "deadline", "p99/dl", "p50/flr", "n"
    );
}
