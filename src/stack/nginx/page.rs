//! Which page of the site a request is about: its path without what differs from one visit to the next. Two copies of a
//! paper are one page, and so are two builds of a stylesheet.

/// As long as a page's name may be.
const LONGEST: usize = 120;

/// The page: `/copies/:n/`, and `POST /copies/` for anything but a GET.
pub fn page(method: &str, path: &str) -> String {
    if path.is_empty() {
        return "(no HTTP)".to_owned();
    }
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let segments: Vec<String> = path.split('/').map(segment).collect();
    let mut page: String = segments.join("/").chars().take(LONGEST).collect();
    if !matches!(method, "GET" | "HEAD") {
        page = format!("{method} {page}");
    }
    page
}

fn segment(segment: &str) -> String {
    let dotted: Vec<&str> = segment.split('.').collect();
    // `print.0a1b2c3d4e5f.css`: the name and the ending tell which file it is.
    if let [name, middle @ .., ending] = dotted.as_slice()
        && !middle.is_empty()
    {
        let middle = middle
            .iter()
            .map(|part| if is_hash(part) { ":hash" } else { part });
        let middle: Vec<&str> = middle.collect();
        return format!("{name}.{}.{ending}", middle.join("."));
    }
    // `index-4f9c2ab1.js`, as bundlers write it.
    if let [name, ending] = dotted.as_slice()
        && let Some((before, hash)) = name.rsplit_once(['-', '_'])
        && hash.len() >= 8
        && has_digit(hash)
        && hash.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return format!("{before}-:hash.{ending}");
    }
    if segment.is_empty() {
        return String::new();
    }
    if segment.bytes().all(|byte| byte.is_ascii_digit()) {
        return ":n".to_owned();
    }
    let is_random = segment.len() >= 20
        && has_digit(segment)
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=' | b'%'));
    if is_hash(segment) || is_random {
        return ":id".to_owned();
    }
    segment.to_owned()
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
}

fn is_hash(text: &str) -> bool {
    text.len() >= 8 && has_digit(text) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The endings of files that pages are made of.
const ASSETS: [&str; 14] = [
    ".css", ".js", ".mjs", ".map", ".woff", ".woff2", ".ttf", ".svg", ".png", ".jpg", ".jpeg", ".gif",
    ".ico", ".webp",
];

/// Whether the page is a file that pages are made of: a stylesheet, a script, a picture.
pub fn is_asset(page: &str) -> bool {
    ASSETS.iter().any(|ending| page.ends_with(ending))
}

/// The stylesheets and scripts that a page of HTML loads from its own site, each once and at most `most`. What stands
/// between quotes behind `href` and `src` is taken, whether or not the rest is good HTML.
pub fn assets_of(html: &str, most: usize) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for attribute in ["href=", "src="] {
        for behind in html.split(attribute).skip(1) {
            let Some(quote) = behind.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
                continue;
            };
            let Some(value) = behind.get(1..).and_then(|rest| rest.split(quote).next()) else {
                continue;
            };
            let bare = value.split(['?', '#']).next().unwrap_or(value);
            let is_elsewhere = value.contains("://") || value.starts_with("//") || value.starts_with("data:");
            let is_wanted = [".css", ".js", ".mjs"]
                .iter()
                .any(|ending| bare.ends_with(ending));
            if is_wanted && !is_elsewhere && !found.iter().any(|known| known == value) && found.len() < most {
                found.push(value.to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_of_one_page_are_one_page() {
        for (path, expected) in [
            ("/", "/"),
            ("/copies/17/scan/", "/copies/:n/scan/"),
            ("/copies/?page=2", "/copies/"),
            ("/p/0f8fad5b-d9cb-469f-a165-70867728950e/", "/p/:id/"),
            ("/p/deadbeef01", "/p/:id"),
            (
                "/static/papers/print.0a1b2c3d4e5f.css",
                "/static/papers/print.:hash.css",
            ),
            ("/static/jquery.min.js", "/static/jquery.min.js"),
            ("/assets/index-4f9c2ab1.js", "/assets/index-:hash.js"),
            ("/facade/", "/facade/"),
            ("/annotations/", "/annotations/"),
        ] {
            assert_eq!(page("GET", path), expected);
        }
        assert_eq!(page("POST", "/copies/3/"), "POST /copies/:n/");
        assert_eq!(page("HEAD", "/"), "/");
        assert_eq!(page("", ""), "(no HTTP)");
        assert!(page("GET", &"/x".repeat(500)).len() <= LONGEST);
    }

    #[test]
    fn what_a_page_loads_is_found_in_it() {
        let html = r#"<link rel=stylesheet href="/static/a.12.css"><script src='app.js?v=1'></script>
            <link href="/static/a.12.css"><script src="https://elsewhere.example.com/b.js"></script>
            <a href="/copies/">copies</a><img src="data:x.js"><script src=bare.js></script>"#;
        assert_eq!(assets_of(html, 10), ["/static/a.12.css", "app.js?v=1"]);
        assert_eq!(assets_of(html, 1).len(), 1);
        assert!(assets_of("href=\"", 10).is_empty());
        assert!(is_asset("/static/a.:hash.css") && !is_asset("/copies/"));
    }
}
