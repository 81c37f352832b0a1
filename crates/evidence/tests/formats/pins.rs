use evidence::pins::{PinsError, Seen};
use evidence::{NoteSigner, Pins};

use crate::keys::Log;

#[test]
fn pins_have_one_form() {
    let log = Log::with_entries("qecnet.example/north", 9);
    let seen = |size| Seen { size, root: log.root(size) };
    let pins = log.pins().with_seen(seen(7)).with_seen(seen(3));
    let text = pins.to_string();
    assert!(text.starts_with("qecnet-pins/v1\nboundary north\norigin qecnet.example/north\nlog qecnet.example/north+"));
    assert_eq!(text.lines().count(), 7);
    assert_eq!(text.parse(), Ok(pins.clone()));
    assert_eq!(pins.seen(), [seen(3), seen(7)]);

    let swapped: Vec<_> = [0, 1, 2, 3, 4, 6, 5].iter().map(|line| text.lines().nth(*line).unwrap()).collect();
    assert_eq!((swapped.join("\n") + "\n").parse::<Pins>(), Err(PinsError::NotCanonical));
    assert_eq!(text.trim_end().parse::<Pins>(), Err(PinsError::NotCanonical));
    assert_eq!(text.replace('\n', "\r\n").parse::<Pins>(), Err(PinsError::NotCanonical));
    assert_eq!(text.replace("qecnet-pins/v1", "qecnet-pins/v2").parse::<Pins>(), Err(PinsError::NotPins));
    assert_eq!(text.replace("boundary north", "boundary North").parse::<Pins>(), Err(PinsError::BadLine(2)));
    assert_eq!(text.replace("origin ", "origins ").parse::<Pins>(), Err(PinsError::BadLine(3)));
    assert_eq!((text.clone() + "more\n").parse::<Pins>(), Err(PinsError::BadLine(8)));
    let id = log.classical.key().id().to_string();
    assert!(matches!(text.replace(&id, "00000000").parse::<Pins>(), Err(PinsError::Key { line: 4, .. })));
    let one_key: String = text.lines().filter(|line| !line.contains(&id)).map(|line| format!("{line}\n")).collect();
    assert!(matches!(one_key.parse::<Pins>(), Err(PinsError::Policy(_))));
}
