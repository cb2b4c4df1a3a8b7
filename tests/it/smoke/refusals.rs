//! Sections that are refused, and what a person is shown, word for word.

use std::path::Path;

use viatique_deploy::config;

const BEFORE: &str = "project: a\ncompose: a.yml\nhealth: { url: \"http://127.0.0.1/health/\" }\nsmoke:\n";

/// The section, whose first line is the file's fifth; the error with its hint.
const REFUSALS: &[(&str, &str)] = &[
    ("  host: a\n", "5:3: missing key `scenarios` in `smoke`"),
    (
        "  scenarios: []\n",
        "5:14: `smoke.scenarios`: at least one is needed",
    ),
    (
        "  scenarios: [{ name: a, steps: [] }]\n",
        "5:33: `smoke.scenarios[0].steps`: at least one is needed",
    ),
    (
        "  scenarios: [{ name: ' ', steps: [{ get: / }] }]\n",
        "5:23: `smoke.scenarios[0].name`: a name cannot be empty",
    ),
    (
        "  scenarios: [{ name: a, step: [] }]\n",
        "5:26: unknown key `step` in `smoke.scenarios[0]`; did you mean `steps`?",
    ),
    (
        "  scenarios: [{ name: a, steps: [{ get: / }] }, { name: a, steps: [{ get: / }] }]\n",
        "5:57: `smoke.scenarios[1].name`: there is another scenario `a` above",
    ),
    (
        "  scenarios: [{ name: lgoin, steps: [{ get: / }] }, { name: b, needs: [login], steps: [{ get: / }] }]\n",
        "5:72: `smoke.scenarios[1].needs[0]`: no scenario above is called `login`; did you mean `lgoin`?",
    ),
    (
        "  before_switch: true\n  scenarios: [{ name: a, steps: [{ get: / }] }]\n",
        "5:18: `smoke.before_switch`: nothing says which service's new container is asked before the switch\n\
         hint: write `django: { service: <name> }`",
    ),
    (
        "  before_switch: []\n  scenarios: [{ name: a, steps: [{ get: / }] }]\n",
        "5:18: `smoke.before_switch`: at least one is needed",
    ),
    (
        "  before_switch: { scenario: [a] }\n  scenarios: [{ name: a, steps: [{ get: / }] }]\n",
        "5:20: unknown key `scenario` in `smoke.before_switch`; did you mean `scenarios`?",
    ),
    (
        "  before_switch: { port: 0 }\n  scenarios: [{ name: a, steps: [{ get: / }] }]\n",
        "5:26: `smoke.before_switch.port`: expected a whole number from 1 to 65535, found `0`",
    ),
    (
        "  scenarios: [{ name: a, needs: [a], steps: [{ get: / }] }]\n",
        "5:34: `smoke.scenarios[0].needs[0]`: no scenario above is called `a`",
    ),
    (
        "  url: ftp://a\n  scenarios: [{ name: a, steps: [{ get: / }] }]\n",
        "5:8: `smoke.url`: `ftp://a` is not an `http://` or `https://` address",
    ),
    (
        "  url: http://a/?b=c\n  scenarios: [{ name: a, steps: [{ get: / }] }]\n",
        "5:8: `smoke.url`: only scheme, host, port and a path are meant",
    ),
    (
        "  variables: { 1a: x }\n  scenarios: [{ name: a, steps: [{ get: / }] }]\n",
        "5:16: `smoke.variables`: `1a` is no variable's name: letters, digits and `_`, not beginning with a digit",
    ),
    (
        "  variables: { a: { env: X, random: 24 } }\n  scenarios: [{ name: a, steps: [{ get: / }] }]\n",
        "5:19: `smoke.variables.a`: write one of `env` and `random`",
    ),
    (
        "  variables: { a: { random: 4 } }\n  scenarios: [{ name: a, steps: [{ get: / }] }]\n",
        "5:19: `smoke.variables.a`: `random` is a length from 16 to 128, and not 4",
    ),
    (
        "  variables: { a: { file: b } }\n  scenarios: [{ name: a, steps: [{ get: / }] }]\n",
        "5:21: unknown key `file` in `smoke.variables.a`; known here: `env`, `random`",
    ),
    (
        "  variables: { a: [1] }\n  scenarios: [{ name: a, steps: [{ get: / }] }]\n",
        "5:19: `smoke.variables.a`: expected a value, `{ env: NAME }` or `{ random: 24 }`, found a list",
    ),
    (
        "  before: [{ run: [] }]\n  scenarios: [{ name: a, steps: [{ get: / }] }]\n",
        "5:19: `smoke.before[0].run`: a command needs at least one word",
    ),
    (
        "  before: [{ run: [a], environment: { A: \"${b}\" } }]\n  scenarios: [{ name: a, steps: [{ get: / }] }]\n",
        "5:42: `smoke.before[0].environment.A`: `${b}` stands for nothing here\n\
         hint: write it under `variables`, or `capture` it in a step above",
    ),
    (
        "  before: [{ run: [a], capture: { exam: id } }]\n  after: [{ run: [a], environment: { A: \"${exam}\" } }]\n  scenarios: [{ name: a, steps: [{ get: / }] }]\n",
        "6:41: `smoke.after[0].environment.A`: `${exam}` stands for nothing here\n\
         hint: write it under `variables`, or `capture` it in a step above",
    ),
];

/// A step, whose first character is the file's 6:9; the error behind its place, with its hint.
const STEPS: &[(&str, &str)] = &[
    (
        "{ name: a }",
        "6:9: `smoke.scenarios[0].steps[0]`: the step asks for nothing\n\
         hint: write one of `get`, `post`, `put`, `patch` and `delete`, with the path",
    ),
    (
        "{ get: /a, post: /b }",
        "6:9: `smoke.scenarios[0].steps[0]`: the step is a GET and a POST\n\
         hint: write one of `get`, `post`, `put`, `patch` and `delete`, with the path",
    ),
    (
        "{ get: a/b }",
        "6:16: `smoke.scenarios[0].steps[0].get`: `a/b` is no path of the site: it begins with `/`, or with a `${name}` \
         whose value does",
    ),
    (
        "{ get: http://elsewhere/ }",
        "6:16: `smoke.scenarios[0].steps[0].get`: `http://elsewhere/` is no path of the site: it begins with `/`, or with \
         a `${name}` whose value does",
    ),
    (
        "{ get: /a, form: { a: b } }",
        "6:9: `smoke.scenarios[0].steps[0]`: a GET has no body\nhint: write `query`, for what stands behind the `?`",
    ),
    (
        "{ post: /a, form: { a: b }, json: 1 }",
        "6:9: `smoke.scenarios[0].steps[0]`: a body is `json`, or a `form`, with `files` or without, and not both",
    ),
    (
        "{ post: /a, repeat: { every: 1s, for: 5s } }",
        "6:9: `smoke.scenarios[0].steps[0]`: only a GET is asked again: `repeat` would write several times",
    ),
    (
        "{ get: /a, csrf: false }",
        "6:9: `smoke.scenarios[0].steps[0]`: a GET needs no CSRF token: `csrf` has no use here",
    ),
    (
        "{ get: /a, headers: { \"X Y\": b } }",
        "6:31: `smoke.scenarios[0].steps[0].headers`: `X Y` is no header's name",
    ),
    (
        "{ get: /a, follow: 11 }",
        "6:28: `smoke.scenarios[0].steps[0].follow`: expected a whole number from 1 to 10, found `11`",
    ),
    (
        "{ get: /a, repeat: { every: 1s } }",
        "6:28: missing key `for` in `smoke.scenarios[0].steps[0].repeat`",
    ),
    (
        "{ post: /a, files: { a: { file: b, text: c } } }",
        "6:33: `smoke.scenarios[0].steps[0].files.a`: what is sent is a `file` of this machine, or a `text`: write one of \
         them",
    ),
    (
        "{ post: /a, files: { a: { text: c } } }",
        "6:33: `smoke.scenarios[0].steps[0].files.a`: the file has no name\nhint: write `name`",
    ),
    (
        "{ get: /a, expect: { status: 99 } }",
        "6:38: `smoke.scenarios[0].steps[0].expect.status`: expected a status from 100 to 599, or a list of them, found \
         `99`",
    ),
    (
        "{ get: /a, expect: { headers: { A: { has: b } } } }",
        "6:46: unknown key `has` in `smoke.scenarios[0].steps[0].expect.headers.A`; known here: `contains`",
    ),
    (
        "{ get: /a, expect: { body: b } }",
        "6:36: `smoke.scenarios[0].steps[0].expect.body`: expected a mapping, found `b`",
    ),
    (
        "{ get: /a, expect: { json: { a..b: 1 } } }",
        "6:38: `smoke.scenarios[0].steps[0].expect.json`: `a..b` is no way into JSON; it is written as in \
         `copies[0].exam` or `headers[\"x.y\"]`",
    ),
    (
        "{ get: /a, expect: { sha256: abc } }",
        "6:38: `smoke.scenarios[0].steps[0].expect.sha256`: a SHA-256 has 64 hexadecimal digits",
    ),
    (
        "{ get: /a, expect: { within: 5 } }",
        "6:38: `smoke.scenarios[0].steps[0].expect.within`: the duration `5` has no unit",
    ),
    (
        "{ get: /a, capture: { a: { json: b, header: c } } }",
        "6:34: `smoke.scenarios[0].steps[0].capture.a`: a capture comes from one place: write one of `json`, `header`, \
         `cookie` and `body`",
    ),
    (
        "{ get: /a, capture: { a: { body: a } } }",
        "6:34: `smoke.scenarios[0].steps[0].capture.a`: `a` must have one group, which is what is kept, and has 0",
    ),
    (
        "{ get: \"/a/${b\" }",
        "6:16: `smoke.scenarios[0].steps[0].get`: `${` does not end in `/a/${b`\n\
         hint: write `$${` for a `${` that is meant as it stands",
    ),
    (
        "{ get: \"/a/${1}\" }",
        "6:16: `smoke.scenarios[0].steps[0].get`: `${1}` is no name: letters, digits and `_`, not beginning with a digit\n\
         hint: write `$${` for a `${` that is meant as it stands",
    ),
    (
        "{ post: /a, json: { a: [1, \"${copi}\"] } }",
        "6:36: `smoke.scenarios[0].steps[0].json.a[1]`: `${copi}` stands for nothing here\n\
         hint: write it under `variables`, or `capture` it in a step above",
    ),
    (
        "{ get: /a, expect: { json: { a: \"${a}\" } }, capture: { a: { json: a } } }",
        "6:41: `smoke.scenarios[0].steps[0].expect.json.a`: `${a}` stands for nothing here\n\
         hint: write it under `variables`, or `capture` it in a step above",
    ),
];

fn refusal(section: &str) -> String {
    let text = format!("{BEFORE}{section}");
    match config::parse(Path::new("deploy.yml"), &text) {
        Ok(_) => format!("taken:\n{text}"),
        Err(error) => config::ConfigErrors(vec![error]).to_string(),
    }
}

#[test]
fn what_is_wrong_is_told_where_it_stands() {
    let mut wrong = Vec::new();
    for (section, expected) in REFUSALS {
        let told = refusal(section);
        if told != format!("deploy.yml:{expected}") {
            wrong.push(format!("{section}\n  {told}"));
        }
    }
    for (step, expected) in STEPS {
        let told = refusal(&format!(
            "  scenarios: [{{ name: a, steps: [\n        {step}] }}]\n"
        ));
        if !told.starts_with(&format!("deploy.yml:{expected}")) {
            wrong.push(format!("{step}\n  {told}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_name_that_is_nearly_known_is_suggested() {
    let section = "  variables: { teacher: x }\n  scenarios: [{ name: a, steps: [{ get: / }], cleanup: [{ get: \"/${teachr}\" }] }]\n";
    assert_eq!(
        refusal(section),
        "deploy.yml:6:64: `smoke.scenarios[0].cleanup[0].get`: `${teachr}` stands for nothing here; did you mean \
         `teacher`?\nhint: known here: teacher"
    );
}

#[test]
fn the_address_must_be_somewhere() {
    let text = "project: a\ncompose: a.yml\nsmoke:\n  scenarios: [{ name: a, steps: [{ get: / }] }]\n";
    let error = config::parse(Path::new("deploy.yml"), text).unwrap_err();
    assert_eq!(
        config::ConfigErrors(vec![error]).to_string(),
        "deploy.yml:3:1: `smoke`: nothing says where the site is asked\n\
         hint: write `smoke.url`, or `health.url`, whose address is taken then"
    );
}

#[test]
fn scenarios_before_the_switch_are_named_as_they_are_written() {
    let read = |chosen: &str| {
        let text = format!(
            "project: a\ncompose: a.yml\nhealth: {{ url: \"http://a/\" }}\ndjango: {{ service: web }}\nsmoke:\n  before_switch: \
             {chosen}\n  scenarios: [{{ name: login, steps: [{{ get: / }}] }}]\n"
        );
        let config = config::parse(Path::new("deploy.yml"), &text);
        config.map(|config| config.smoke.unwrap().before_switch)
    };
    let names = Some(vec!["login".to_owned()]);
    for (written, expected) in [
        ("false", None),
        ("true", Some((None, None))),
        ("[login]", Some((names.clone(), None))),
        ("{ port: 8000 }", Some((None, Some(8000)))),
        ("{ scenarios: [login], port: 8000 }", Some((names, Some(8000)))),
    ] {
        let found = read(written).unwrap_or_else(|error| panic!("{written}: {error}"));
        let found = found.map(|found| (found.scenarios, found.port));
        assert_eq!(found, expected, "{written}");
    }
    for (written, place) in [
        ("[lgoin]", "`smoke.before_switch[0]`"),
        ("{ scenarios: [lgoin] }", "`smoke.before_switch.scenarios[0]`"),
    ] {
        let error = read(written).unwrap_err().to_string();
        assert!(
            error.contains(&format!(
                "{place}: no scenario is called `lgoin`; did you mean `login`?"
            )),
            "{error}"
        );
    }
}

#[test]
fn what_is_not_written_is_as_health_has_it() {
    let target = |smoke: &str| {
        let text = format!(
            "project: a\ncompose: a.yml\nhealth: {{ url: \"https://127.0.0.1:8443/health/?x=1\", host: a.example.com, headers: \
             {{ X-A: \"${{b}}\" }} }}\nsmoke:\n{smoke}  scenarios: [{{ name: a, steps: [{{ get: / }}] }}]\n"
        );
        let config = config::parse(Path::new("deploy.yml"), &text).unwrap_or_else(|error| panic!("{error}"));
        let target = config
            .smoke
            .as_ref()
            .unwrap()
            .target(config.health.as_ref())
            .unwrap();
        let headers: Vec<String> = target
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value} {:?}", value.sole_name()))
            .collect();
        (target.base, target.host.unwrap(), headers)
    };
    let text = |text: &str| text.to_owned();
    // What stands in `health` is no template.
    let of_health = vec![text("X-A: ${b} None")];
    assert_eq!(
        target(""),
        (
            text("https://127.0.0.1:8443"),
            text("a.example.com"),
            of_health.clone()
        )
    );
    assert_eq!(
        target("  url: http://127.0.0.1/app/\n"),
        (text("http://127.0.0.1/app"), text("a.example.com"), of_health)
    );
    assert_eq!(
        target("  host: b.example.com\n  variables: { c: d }\n  headers: { X-C: \"${c}\" }\n"),
        (
            text("https://127.0.0.1:8443"),
            text("b.example.com"),
            vec![text("X-C: ${c} Some(\"c\")")]
        )
    );
}
