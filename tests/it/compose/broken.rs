//! Files that were cut short or lost a character: refused or read, and never a panic.

use super::support::Texts;

#[test]
fn a_damaged_file_never_panics() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/compose");
    for case in [
        "viatique",
        "override",
        "interpolation",
        "nested-merges",
        "mounts",
        "ports",
    ] {
        let text = std::fs::read_to_string(folder.join(case).join("compose.yml")).unwrap();
        for (count, (index, character)) in text.char_indices().step_by(29).enumerate() {
            match count % 3 {
                0 => drop(Texts::compose(&text[..index]).load()),
                1 => {
                    let without = format!("{}{}", &text[..index], &text[index + character.len_utf8()..]);
                    drop(Texts::compose(&without).load());
                }
                _ => {
                    let other = ["é", "$", "{", "}", ":", "'", "\n", "*", "-", "\t"][count / 3 % 10];
                    let changed = format!(
                        "{}{other}{}",
                        &text[..index],
                        &text[index + character.len_utf8()..]
                    );
                    drop(Texts::compose(&changed).load());
                }
            }
        }
    }
}
