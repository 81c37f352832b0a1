use evidence::pins::{PinsError, Seen};
use evidence::{Founder, NoteSigner, Pins};
use types::Hash;

use crate::keys::Log;

#[test]
fn pins_have_one_form() {
    let log = Log::with_entries("qecnet.example/north", 9);
    let seen = |size| Seen { size, root: log.root(size) };
    let founders = [
        Founder::Node("n1".parse().unwrap(), Hash::new([1; 32])),
        Founder::Operator("op1".parse().unwrap(), Hash::new([2; 32])),
    ];
    let pins = log.pins().with_founders(founders.clone()).with_seen(seen(7)).with_seen(seen(3));
    let text = pins.to_string();
    assert!(text.starts_with("qecnet-pins/v1\nboundary north\norigin qecnet.example/north\nlog qecnet.example/north+"));
    assert_eq!(text.lines().count(), 10);
    assert_eq!(text.parse(), Ok(pins.clone()));
    assert_eq!(pins.seen(), [seen(3), seen(7)]);
    assert_eq!(pins.founders(), [founders[1].clone(), founders[0].clone()]);
    assert_eq!(pins.clone().seen_last(seen(9)).seen(), [seen(9)]);

    for swapped in [[0, 1, 2, 3, 4, 5, 6, 7, 9, 8], [0, 1, 2, 3, 4, 5, 7, 6, 8, 9]] {
        let swapped: Vec<_> = swapped.iter().map(|line| text.lines().nth(*line).unwrap()).collect();
        assert_eq!((swapped.join("\n") + "\n").parse::<Pins>(), Err(PinsError::NotCanonical));
    }
    let without: Vec<_> = text.lines().filter(|line| !line.starts_with("genesis")).collect();
    assert_eq!((without.join("\n") + "\n").parse::<Pins>(), Err(PinsError::BadLine(6)));
    assert_eq!(text.replace("founder node", "founder mode").parse::<Pins>(), Err(PinsError::BadLine(8)));
    assert_eq!(text.trim_end().parse::<Pins>(), Err(PinsError::NotCanonical));
    assert_eq!(text.replace('\n', "\r\n").parse::<Pins>(), Err(PinsError::NotCanonical));
    assert_eq!(text.replace("qecnet-pins/v1", "qecnet-pins/v2").parse::<Pins>(), Err(PinsError::NotPins));
    assert_eq!(text.replace("boundary north", "boundary North").parse::<Pins>(), Err(PinsError::BadLine(2)));
    assert_eq!(text.replace("origin ", "origins ").parse::<Pins>(), Err(PinsError::BadLine(3)));
    assert_eq!((text.clone() + "more\n").parse::<Pins>(), Err(PinsError::BadLine(11)));
    let id = log.classical.key().id().to_string();
    assert!(matches!(text.replace(&id, "00000000").parse::<Pins>(), Err(PinsError::Key { line: 4, .. })));
    let one_key: String = text.lines().filter(|line| !line.contains(&id)).map(|line| format!("{line}\n")).collect();
    assert!(matches!(one_key.parse::<Pins>(), Err(PinsError::Policy(_))));
}
