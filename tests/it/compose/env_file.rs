//! Env files of deploy.yml: what a person writes there, and what is refused without showing the line.

use std::path::PathBuf;

use viatique_deploy::compose::{read_variables, read_variables_below};
use viatique_deploy::secret::Secret;

fn read(texts: &[&str], process: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
    let folder = tempfile::tempdir().unwrap();
    let mut files: Vec<PathBuf> = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let file = folder.path().join(format!("{index}.env"));
        std::fs::write(&file, text).unwrap();
        files.push(file);
    }
    let process = process
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    match read_variables(&files, process) {
        Ok(variables) => Ok(variables
            .into_iter()
            .map(|(key, value)| (key, value.reveal().clone()))
            .collect()),
        Err(errors) => Err(errors
            .to_string()
            .replace(&format!("{}/", folder.path().display()), "")),
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
    Ok(pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect())
}

#[test]
fn a_later_file_wins_and_the_process_wins_over_all() {
    let read = read(&["A=1\nB=1\nC=1\n", "B=2\nC=2\n"], &[("C", "3"), ("D", "4")]);
    assert_eq!(read, pairs(&[("A", "1"), ("B", "2"), ("C", "3"), ("D", "4")]));
}

#[test]
fn earlier_lines_earlier_files_and_the_process_are_seen() {
    let read = read(&["A=1\nB=${A}x\n", "C=$B-${D}\n"], &[("D", "4")]);
    assert_eq!(read, pairs(&[("A", "1"), ("B", "1x"), ("C", "1x-4"), ("D", "4")]));
}

#[test]
fn a_secret_key_in_single_quotes_keeps_its_signs() {
    assert_eq!(
        read(&["SECRET_KEY='a$b#c${d} \"'\n"], &[]),
        pairs(&[("SECRET_KEY", "a$b#c${d} \"")])
    );
}

#[test]
fn refusals_name_the_line_and_never_show_it() {
    for (text, expected) in [
        (
            "A=1\nSECRET_KEY=hunter$two\n",
            "0.env:2:1: SECRET_KEY: undefined variable `two`\n\
             hint: put the value in single quotes if its `$` is meant as it stands",
        ),
        (
            "SECRET_KEY=hunter$#\n",
            "0.env:1:1: SECRET_KEY: a `$` that begins no variable's name\n\
             hint: put the value in single quotes if its `$` is meant as it stands",
        ),
        (
            "\n# comment\nA='hunter\n\n",
            "0.env:3:1: a quote that does not close",
        ),
        (
            "A=\"x\" hunter\n",
            "0.env:1:1: text after the closing quote\nhint: put the whole value in quotes",
        ),
        ("M=\"a\nb\"\nhunter two=3\n", "0.env:3:1: expected `KEY=value`"),
        ("=hunter\n", "0.env:1:1: expected `KEY=value`"),
    ] {
        let refusal = read(&[text], &[]).unwrap_err();
        assert_eq!(refusal, expected, "{text}");
        assert!(!refusal.contains("hunter"));
    }
}

#[test]
fn secrets_win_over_files_which_see_them_and_the_process_wins_over_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".env");
    std::fs::write(&file, "A=file\nB=file\nC=file\nURL=db://$B@$C\n").unwrap();
    let secrets = |pairs: &[(&str, &str)]| {
        let secret = |(key, value): &(&str, &str)| ((*key).to_owned(), Secret::new((*value).to_owned()));
        pairs.iter().map(secret).collect()
    };
    let over = secrets(&[("B", "secret"), ("C", "secret")]);
    let variables = read_variables_below(&[file], &over, secrets(&[("C", "process")]))
        .unwrap()
        .values;
    let revealed: Vec<(&str, &str)> = variables
        .iter()
        .map(|(key, value)| (key.as_str(), value.reveal().as_str()))
        .collect();
    assert_eq!(
        revealed,
        [
            ("A", "file"),
            ("B", "secret"),
            ("C", "process"),
            ("URL", "db://secret@process")
        ]
    );
}

#[test]
fn a_missing_file_is_refused() {
    let errors = read_variables(&[PathBuf::from("/nowhere/.env.production")], []).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "/nowhere/.env.production: cannot read the env file: no such file\n\
         hint: `env_file` in deploy.yml names the files, relative to its own folder"
    );
}
