//! The verdicts as JUnit XML, read back by a parser.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use quick_xml::Reader;
use quick_xml::events::Event as Xml;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{ErrorReport, Event, Outcome, Reporter};
use viatique_deploy::ui::JunitReporter;

use super::script::{self, ManualClock, Script};

/// What reached the reporter behind.
#[derive(Default)]
struct Behind(Mutex<Vec<Event>>);

impl Behind {
    fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }
}

impl Reporter for Behind {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

fn played(script: &Script, path: &Path) -> (bool, Vec<Event>) {
    let behind = Arc::new(Behind::default());
    let junit = JunitReporter::new(behind.clone(), path.to_owned());
    script::play(script, &junit, &ManualClock::default());
    (junit.has_failed(), behind.events())
}

/// An element as a parser sees it.
#[derive(Debug)]
struct Element {
    path: String,
    attributes: BTreeMap<String, String>,
    text: String,
}

impl Element {
    fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// In the order in which they end.
fn parsed(document: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(document);
    let (mut open, mut over): (Vec<Element>, Vec<Element>) = (Vec::new(), Vec::new());
    loop {
        match reader.read_event().unwrap() {
            Xml::Start(start) => open.push(element(&start, &open)),
            Xml::Empty(start) => over.push(element(&start, &open)),
            Xml::End(_) => over.extend(open.pop()),
            Xml::Text(text) => {
                if let Some(last) = open.last_mut() {
                    last.text.push_str(&text.decode().unwrap());
                }
            }
            Xml::GeneralRef(reference) => {
                let name = reference.decode().unwrap().into_owned();
                let character = quick_xml::escape::resolve_predefined_entity(&name).unwrap();
                open.last_mut().unwrap().text.push_str(character);
            }
            Xml::Eof => break,
            Xml::Decl(_) => {}
            other @ (Xml::CData(_) | Xml::Comment(_) | Xml::PI(_) | Xml::DocType(_)) => {
                panic!("{other:?} in {document}")
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
    over
}

fn element(start: &quick_xml::events::BytesStart<'_>, open: &[Element]) -> Element {
    let name = String::from_utf8(start.name().as_ref().to_vec()).unwrap();
    let parent = open.last().map_or("", |parent| parent.path.as_str());
    let attributes = start.attributes().map(|attribute| {
        let attribute = attribute.unwrap();
        (
            String::from_utf8(attribute.key.as_ref().to_vec()).unwrap(),
            quick_xml::escape::unescape(std::str::from_utf8(&attribute.value).unwrap())
                .unwrap()
                .into_owned(),
        )
    });
    Element {
        path: format!("{parent}/{name}"),
        attributes: attributes.collect(),
        text: String::new(),
    }
}

#[test]
fn every_check_is_a_case() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checks.xml");
    std::fs::write(&path, "an old one").unwrap();
    let script = script::failing_checks("check");
    let (failed, behind) = played(&script, &path);
    assert!(!failed);
    let events: Vec<Event> = script.iter().map(|(_, event)| event.clone()).collect();
    assert_eq!(behind, events, "everything is shown as it is");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let document = std::fs::read_to_string(&path).unwrap();
    assert!(
        document
            .chars()
            .all(|character| character == '\n' || !character.is_control())
    );
    let elements = parsed(&document);
    let suite = elements
        .iter()
        .find(|one| one.path == "/testsuites/testsuite")
        .unwrap();
    assert_eq!(suite.attribute("name"), "viatique-deploy check");
    for (name, count) in [
        ("tests", "8"),
        ("failures", "2"),
        ("errors", "2"),
        ("skipped", "3"),
    ] {
        assert_eq!(suite.attribute(name), count, "{name}");
    }
    assert_eq!(suite.attribute("time"), "2.000");
    let case = "/testsuites/testsuite/testcase";
    let names: Vec<&str> = elements
        .iter()
        .filter(|one| one.path == case)
        .map(|one| one.attribute("name"))
        .collect();
    let ids: Vec<String> = script::outcomes().into_iter().map(|one| one.check).collect();
    assert_eq!(names, ids);
    // What stands in a case ends before it.
    let said: Vec<(&str, &str)> = elements
        .windows(2)
        .filter(|two| two[1].path == case && two[0].path.starts_with(&format!("{case}/")))
        .map(|two| (two[1].attribute("name"), two[0].path.rsplit('/').next().unwrap()))
        .collect();
    assert_eq!(
        said,
        [
            ("debug-mode", "failure"),
            ("scanner-bandit", "failure"),
            ("backup-age", "error"),
            ("tls-certificate", "error"),
            ("hsts", "skipped"),
            ("django-deploy", "skipped"),
            ("tests", "skipped"),
        ]
    );
    let bandit = elements
        .iter()
        .find(|one| one.path.ends_with("/failure") && one.attribute("message") == "2 problems")
        .unwrap();
    assert!(
        bandit
            .text
            .contains("shop/pay.py:7: a password in the code, 100% <sure> & red\nhint: read it from"),
        "{}",
        bandit.text
    );
}

#[test]
fn a_warning_passes_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checks.xml");
    let mut outcome = script::outcomes().remove(2);
    outcome.problems.remove(0);
    outcome.blocks = false;
    let mut script = script::passing_check();
    let event = Event::Checked {
        step: viatique_deploy::pipeline::StepId::Check,
        outcome,
    };
    script.insert(3, (0, event));
    played(&script, &path);
    let elements = parsed(&std::fs::read_to_string(&path).unwrap());
    let told = elements.iter().find(|one| one.path.ends_with("/system-out"));
    assert!(told.unwrap().text.contains("random numbers that can be guessed"));
    let suite = elements.iter().find(|one| one.path.ends_with("/testsuite"));
    assert_eq!(suite.unwrap().attribute("failures"), "0");
}

/// A file that is all green would say that everything was looked at.
#[test]
fn a_check_that_could_not_be_finished_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checks.xml");
    let mut script = script::passing_check();
    let Some((_, Event::Finished { outcome, error, .. })) = script.last_mut() else {
        panic!("{script:?}")
    };
    *outcome = Outcome::Failed;
    *error = Some(ErrorReport {
        chain: vec!["asking the engine".into(), "it is gone".into()],
        ..ErrorReport::default()
    });
    played(&script, &path);
    let elements = parsed(&std::fs::read_to_string(&path).unwrap());
    let error = elements.iter().find(|one| one.path.ends_with("/error")).unwrap();
    assert_eq!(error.attribute("message"), "asking the engine: it is gone");
    let suite = elements
        .iter()
        .find(|one| one.path.ends_with("/testsuite"))
        .unwrap();
    assert_eq!((suite.attribute("tests"), suite.attribute("errors")), ("2", "1"));
}

#[test]
fn a_file_that_cannot_be_written_fails_a_check_that_passed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("checks.xml");
    let (failed, behind) = played(&script::passing_check(), &path);
    assert!(failed);
    let Some(Event::Finished {
        outcome,
        exit_code,
        error: Some(error),
        ..
    }) = behind.last()
    else {
        panic!("{behind:?}")
    };
    assert_eq!((*outcome, *exit_code), (Outcome::Failed, ExitCode::Failed));
    assert!(
        error.chain[0].starts_with("cannot write the verdicts to ") && error.chain.len() == 2,
        "{error:?}"
    );
    // Of one that has failed anyway, why stays why.
    let script = script::failing_checks("check");
    let (failed, behind) = played(&script, &path);
    assert!(failed);
    assert_eq!(behind.last(), script.last().map(|(_, event)| event));
    let warned = behind.iter().any(|event| {
        matches!(event, Event::Warning { message, .. } if message.starts_with("cannot write the verdicts to "))
    });
    assert!(warned);
}
