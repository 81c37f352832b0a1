use types::Millis;

use super::{ConfigError, NodeConfig};

const LEAST: &str = "boundary = \"demo\"\nnode = \"n2\"\nlisten = \"127.0.0.1:7102\"\nhub = \"127.0.0.1:7000\"\n";

fn load(text: &str) -> Result<NodeConfig, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    NodeConfig::load(&path)
}

#[test]
fn the_least_config_has_the_documented_defaults() {
    let config = load(LEAST).unwrap();
    assert_eq!(config.timing.report.0, Millis::from_secs(5));
    assert!(config.files.store.ends_with("store.db") && config.files.store.is_absolute());
    assert!(config.links.is_empty() && config.allow_connect.is_empty());
}

#[test]
fn what_is_written_is_read_again() {
    let text = format!(
        "{LEAST}allow_connect = [\"127.0.0.1:80\", \"10.0.0.1:*\"]\n[timing]\nreport = \"500ms\"\n[[link]]\npeer = \"n1\"\nfibre = \"127.0.0.1:9\"\n\
         params = {{ pulse_rate_hz = 1000000, length_km = 2.5 }}\n"
    );
    let config = load(&text).unwrap();
    let params = config.links[0].params.params();
    assert_eq!((params.pulse_rate_hz, params.fibre.length_km), (1_000_000, 2.5));
    let written: NodeConfig = toml::from_str(&config.to_toml().unwrap()).unwrap();
    assert_eq!(written, config);
}

/// SM-03: there is no field for an identity or a pin, so no trust can be brought in this way.
#[test]
fn each_fault_is_named_with_its_place() {
    let faults = [
        ("lisen = \"127.0.0.1:1\"\n", "lisen"),
        ("[timing]\nreport = \"5 s\"\n", "line 6"),
        ("[timing]\nreport = \"10ms\"\n", "100ms"),
        ("[[link]]\npeer = \"n2\"\nfibre = \"127.0.0.1:1\"\n", "`link` to `n2`"),
        ("[[link]]\npeer = \"n1\"\nfibre = \"127.0.0.1:1\"\nparams = { z_log2 = 9 }\n", "z_log2"),
        ("[[link]]\npeer = \"n1\"\nfibre = \"127.0.0.1:1\"\nparams = { zlog2 = 1 }\n", "zlog2"),
        ("allow_connect = [\"localhost:80\"]\n", "localhost:80"),
        ("[[peer]]\npin = \"00\"\n", "peer"),
    ];
    for (text, wanted) in faults {
        let error = load(&format!("{LEAST}{text}")).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    assert!(load(&LEAST.replace("n2", "hub")).unwrap_err().to_string().contains("the hub's"));
}

/// S15: there is no field by which a node's file opens a forward, or lets one in.
#[test]
fn s15_a_nodes_file_opens_no_forward() {
    for (text, field) in [
        ("[[forward]]\nlisten = \"127.0.0.1:1\"\nto = \"n1\"\nconnect = \"127.0.0.1:2\"\n", "forward"),
        ("[[accept]]\nfrom = \"n1\"\nconnect = \"127.0.0.1:2\"\n", "accept"),
    ] {
        let error = load(&format!("{LEAST}{text}")).unwrap_err().to_string();
        assert!(error.contains(&format!("unknown field `{field}`")), "{error}");
    }
    assert!(load(LEAST).unwrap().allow_connect.is_empty());
}
