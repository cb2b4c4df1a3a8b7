//! Texts of many shapes, read by us and by `serde_yaml`.

use viatique_deploy::yaml::{Node, Resolved, Value, parse, resolve};

/// Our tree as `serde_yaml`'s value.
fn value(node: &Node) -> serde_yaml::Value {
    match &node.value {
        Value::Scalar(scalar) => match resolve(scalar) {
            Resolved::Null => serde_yaml::Value::Null,
            Resolved::Bool(value) => value.into(),
            Resolved::Integer(value) => match (u64::try_from(value), i64::try_from(value)) {
                (Ok(value), _) => value.into(),
                (Err(_), Ok(value)) => value.into(),
                (Err(_), Err(_)) => (value as f64).into(),
            },
            Resolved::Float(value) => value.into(),
            Resolved::Text(text) => text.into(),
        },
        Value::Sequence(items) => items.iter().map(value).collect::<Vec<_>>().into(),
        Value::Mapping(mapping) => serde_yaml::Value::Mapping(
            mapping
                .entries
                .iter()
                .map(|(key, entry)| (key.as_str().into(), value(&entry.value)))
                .collect(),
        ),
    }
}

/// `serde_yaml`'s merge keys reach one level; applied until nothing changes.
fn theirs(text: &str) -> serde_yaml::Value {
    let mut value: serde_yaml::Value = serde_yaml::from_str(text).unwrap();
    for _ in 0..10 {
        value.apply_merge().unwrap();
    }
    value
}

// A zero before a number is left out: text to serde_yaml, seven to YAML 1.2, octal to Compose. The Compose reader
// refuses it.
#[test]
fn scalars_mean_what_they_mean_to_serde_yaml() {
    for text in [
        "",
        "~",
        "null",
        "Null",
        "NULL",
        "nULL",
        "true",
        "True",
        "TRUE",
        "tRUE",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "y",
        "0",
        "-0",
        "1",
        "+1",
        "-1",
        "12345678901234567890",
        "0o17",
        "0o8",
        "0x1F",
        "0xG",
        "1.5",
        "1.10",
        ".5",
        "5.",
        "1e3",
        "1E-3",
        "1.5e+10",
        "1e",
        "e3",
        ".",
        "-.5",
        "+.5",
        "-",
        "--1",
        "1-2",
        "1_000",
        ".inf",
        "-.inf",
        "+.INF",
        ".Inf",
        "1.2.3",
        "12:30",
        "12:30:45",
        "2026-01-21",
        "v1.10",
        "'1'",
        "\"true\"",
        "'null'",
        "!!str 12",
        "!!str true",
        "a b",
        "a: b",
        "'it''s'",
        "\"tab\\t\\u00e9\"",
        "|\n  two\n  lines\n",
        ">-\n  one\n  two\n",
        "|2\n    kept\n",
        "[]",
        "{}",
        "[1, a, [b, ~]]",
        "{a: 1, b: {c: [d]}}",
        "- a\n- b: 1\n  c: 2\n-\n",
        "'multi\n  line'",
        "a: &x 1\nb: *x",
        "? a\n: b\n",
        "é: ü",
        "\"a\": 1",
        "a:\n- 1\n- 2",
        "# only a comment",
        "--- \na: 1\n...\n",
        "a: http://x:80/?a=b#c",
        "a: b #c",
        "a: b#c",
        "a: \"#b\"",
        "a: '- x'",
        "a: - x-",
    ] {
        let Ok(expected) = serde_yaml::from_str::<serde_yaml::Value>(text) else {
            continue;
        };
        let ours = parse(text, 0).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(value(&ours), expected, "{text:?}");
    }
}

#[test]
fn merge_keys_reach_through_every_level() {
    for text in [
        "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n",
        "a: &a {x: 1}\nb: &b {<<: *a, z: 4}\nc: &c {<<: *b}\nd: {<<: *c, q: {<<: *b}}\n",
        "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], w: 0}\n",
        "a: &a {x: 1}\nb: {y: 2, <<: {z: 3}}\nc: [{<<: *a}, *a]\n",
    ] {
        assert_eq!(value(&parse(text, 0).unwrap()), theirs(text), "{text}");
    }
}

#[test]
fn the_fixtures_read_the_same() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/compose");
    let mut read = 0;
    for case in std::fs::read_dir(folder).unwrap() {
        let file = case.unwrap().path().join("compose.yml");
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        assert_eq!(
            value(&parse(&text, 0).unwrap()),
            theirs(&text),
            "{}",
            file.display()
        );
        read += 1;
    }
    assert!(read >= 15);
}
