//! Real traffic over the mesh.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use crate::deployment::{Mesh, free_port, wait};

/// Size of the file in MiB; the full gibibyte with `QECNET_LONG=1`.
fn mebibytes() -> usize {
    if std::env::var_os("QECNET_LONG").is_some() { 1024 } else { 96 }
}

/// A web server with one file: `size` bytes of a fixed sequence.
fn serve(size: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream, size));
        }
    });
    port
}

fn answer(mut stream: TcpStream, size: usize) {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n");
    if stream.write_all(head.as_bytes()).is_err() {
        return;
    }
    let mut sequence = Sequence(1);
    let mut left = size;
    let mut block = vec![0; 1 << 16];
    while left > 0 {
        let part = left.min(block.len());
        sequence.fill(&mut block[..part]);
        if stream.write_all(&block[..part]).is_err() {
            return;
        }
        left -= part;
    }
}

/// A xorshift sequence: cheap, and any lost, doubled or swapped block shows.
struct Sequence(u64);

impl Sequence {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
    }
}

fn expected_hash(size: usize) -> String {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut sequence = Sequence(1);
    let mut block = vec![0; 1 << 16];
    for _ in 0..size / block.len() {
        sequence.fill(&mut block);
        input.write_all(&block).unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

/// KM-06 KM-10 KM-11 SM-06a: `curl` of a large file through a forward, while keys rotate every
/// second, has the right SHA-256.
#[test]
fn a_large_file_survives_rotation_every_second() {
    let size = mebibytes() << 20;
    let mesh = Mesh::start(2, "1s");
    let (server, listen) = (serve(size), free_port());
    let (connect, local) = (format!("127.0.0.1:{server}"), format!("127.0.0.1:{listen}"));
    mesh.cli(&["forward", "add", "--node", "n1", "--listen", &local, "--to", "n2", "--connect", &connect]).expect(0);
    wait("the forward listens", || TcpStream::connect(&local).ok());

    let rotations = mesh.active_pairs();
    // The rate is held so that the transfer spans several rotations whatever the machine.
    let rate = format!("{}M", (mebibytes() / 6).max(1));
    let fetch = format!("curl -sS --fail --limit-rate {rate} http://{local}/file | sha256sum");
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &fetch]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap()[..64], expected_hash(size));
    assert_ne!(mesh.active_pairs(), rotations, "the key rotated meanwhile");
    let keys = mesh.read(&["forward", "list"]);
    assert_eq!(keys.as_array().unwrap().len(), 1);
}

/// SM-02 KM-12: an emergency that revokes a pair's key cuts its streams; other pairs' streams go on.
#[test]
fn isolation_cuts_the_fallen_nodes_streams_and_no_other() {
    let mesh = Mesh::start(3, "30s");
    let echo = echo_server();
    let open = |from: &str, to: &str| {
        let local = format!("127.0.0.1:{}", free_port());
        let connect = format!("127.0.0.1:{echo}");
        mesh.cli(&["forward", "add", "--node", from, "--listen", &local, "--to", to, "--connect", &connect]).expect(0);
        let mut stream = wait("the forward carries", || {
            let mut stream = TcpStream::connect(&local).ok()?;
            stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).ok()?;
            says_back(&mut stream, b"hello").then_some(stream)
        });
        assert!(says_back(&mut stream, b"again"));
        stream
    };
    let (mut fallen, mut sound) = (open("n1", "n3"), open("n1", "n2"));
    mesh.compromise("n3");
    wait("the stream to the fallen node is cut", || (!says_back(&mut fallen, b"secret")).then_some(()));
    for _ in 0..20 {
        assert!(says_back(&mut sound, b"still here"), "another pair's stream must not notice");
    }
}

fn says_back(stream: &mut TcpStream, word: &[u8]) -> bool {
    let mut back = vec![0; word.len()];
    stream.write_all(word).is_ok() && stream.read_exact(&mut back).is_ok() && back == word
}

fn echo_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut reader = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut reader, &mut stream);
            });
        }
    });
    port
}
