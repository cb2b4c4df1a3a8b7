//! Positions, and what is refused.

use viatique_deploy::yaml::{Node, parse};

fn refusal(text: &str) -> String {
    let error = parse(text, 0).unwrap_err();
    let mark = error.mark.unwrap();
    format!("{}:{}: {error}", mark.line, mark.column)
}

fn under<'n>(root: &'n Node, keys: &[&str]) -> &'n Node {
    keys.iter()
        .fold(root, |node, key| node.as_mapping().unwrap().get(key).unwrap())
}

#[test]
fn a_value_knows_where_it_was_written_through_aliases_and_merges() {
    let root = parse(
        "base: &base\n  deep:\n    key: value\nuser:\n  <<: *base\n  own: 1\n",
        7,
    )
    .unwrap();
    let mark = under(&root, &["user", "deep", "key"]).mark;
    assert_eq!((mark.source, mark.line, mark.column), (7, 3, 10));
    let mark = under(&root, &["user", "own"]).mark;
    assert_eq!((mark.line, mark.column), (6, 8));
    assert_eq!(root.as_mapping().unwrap().entries["user"].key_mark.line, 4);
}

#[test]
fn what_other_readers_guess_is_refused() {
    for (text, expected) in [
        ("a: 1\na: 2\n", "2:1: the key `a` stands twice"),
        ("a: {b: 1, 'b': 2}\n", "1:11: the key `b` stands twice"),
        ("a: 1\n---\nb: 2\n", "2:1: a second document in one file"),
        ("a: !reset null\n", "1:4: the tag `!reset` is not supported"),
        (
            "a: !override\n  b: 1\n",
            "1:4: the tag `!override` is not supported",
        ),
        ("a: !!binary aGk=\n", "1:4: the tag `!!binary` is not supported"),
        ("a: !include x.yml\n", "1:4: the tag `!include` is not supported"),
        ("[a]: 1\n", "1:1: a key that is a list or a mapping"),
        ("{1: 2}\n", "1:2: the key `1` is not text"),
        (
            "a: &a [*a]\n",
            "1:8: an alias to something that holds the alias itself",
        ),
        ("<<: 1\n", "1:5: `<<` takes a mapping or a list of mappings"),
        (
            "<<: [{a: 1}, 2]\n",
            "1:14: `<<` takes a mapping or a list of mappings",
        ),
        ("<<: {a: 1}\n<<: {b: 1}\n", "2:1: the key `<<` stands twice"),
    ] {
        assert_eq!(refusal(text), expected, "{text:?}");
    }
}

#[test]
fn broken_texts_give_a_position() {
    for text in [
        "a: [",
        "a: b: c",
        "a: 'x",
        "*nowhere",
        "a: {",
        "- a\nb: 1",
        "%YAML 9",
        "a: \"\\q\"",
    ] {
        let error = parse(text, 0).unwrap_err();
        assert!(error.mark.is_some_and(|mark| mark.line > 0), "{text:?}: {error}");
    }
}

#[test]
fn aliases_may_not_grow_without_end() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(
        refusal(&text).ends_with("aliases that add more than 400000 values in all"),
        "{}",
        refusal(&text)
    );
}

#[test]
fn a_large_stack_of_merges_is_within_the_budget() {
    let mut text = "x-base: &base\n".to_owned();
    for key in 0..100 {
        text.push_str(&format!("  key{key}: [a, b, c]\n"));
    }
    text.push_str("services:\n");
    for service in 0..200 {
        text.push_str(&format!("  s{service}: {{<<: *base, own: 1}}\n"));
    }
    let root = parse(&text, 0).unwrap();
    assert_eq!(
        under(&root, &["services", "s199"])
            .as_mapping()
            .unwrap()
            .entries
            .len(),
        101
    );
}

#[test]
fn nesting_has_an_end() {
    let text = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let error = parse(&text, 0).unwrap_err();
    assert!(error.mark.is_some(), "{error}");
}
