//! A headless Chromium that sees pages: from a file, in a frame of a given width, with every name of a host leading nowhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The browser.
pub(crate) struct Chromium {
    program: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    Light,
    Dark,
}

/// What it saw of a page.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) text: String,
    pub(crate) scroll_width: u32,
    /// What sticks out.
    pub(crate) too_wide: Vec<String>,
    pub(crate) height: u32,
    /// Of the background, from 0 to 1.
    pub(crate) brightness: f64,
    pub(crate) smallest_letters: f64,
    /// How many further files or addresses it asked for.
    pub(crate) fetched: u64,
    pub(crate) scripts: u64,
    pub(crate) pictures: u64,
    /// What it wrote to its console.
    pub(crate) complaints: Vec<String>,
}

/// The page in a frame as wide as asked for, because no window is as narrow as a phone, and what is measured of it.
const FRAME: &str = r##"<!doctype html><meta charset="utf-8"><style>html,body{margin:0}iframe{border:0;display:block}</style>
<iframe id="frame" src="page.html"></iframe><pre id="measured" hidden></pre><script>
const frame = document.getElementById("frame");
frame.style.width = "WIDTHpx"; frame.style.height = "HEIGHTpx";
frame.onload = () => {
  const page = frame.contentDocument, root = page.documentElement, all = [...page.body.querySelectorAll("*")];
  const scrolls = one => one.closest(".wide") !== null || one.closest("svg svg") !== null;
  const hidden = one => one.closest("details:not([open])") && !one.closest("summary");
  const words = all.filter(one => !hidden(one) && [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
  const name = one => `${one.tagName}.${one.getAttribute("class") || ""} ${(one.textContent || "").slice(0, 40)}`;
  document.getElementById("measured").textContent = JSON.stringify({
    text: page.body.innerText,
    scroll_width: root.scrollWidth,
    too_wide: all.filter(one => !scrolls(one) && !hidden(one) && one.getBoundingClientRect().right > WIDTH + 1).slice(0, 5).map(name),
    height: root.scrollHeight,
    background: frame.contentWindow.getComputedStyle(root).backgroundColor,
    smallest_letters: Math.min(...words.map(one => parseFloat(frame.contentWindow.getComputedStyle(one).fontSize))),
    fetched: frame.contentWindow.performance.getEntriesByType("resource").length,
    scripts: page.querySelectorAll("script").length,
    pictures: page.querySelectorAll("img, image, iframe, object, link").length,
  });
};
</script>"##;

impl Chromium {
    /// The one that is installed.
    pub(crate) fn found() -> Self {
        const NAMES: [&str; 4] = [
            "chromium",
            "chromium-browser",
            "google-chrome",
            "google-chrome-stable",
        ];
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::env::split_paths(&path).flat_map(|folder| NAMES.map(|name| folder.join(name)));
        let program = places.find(|place| place.is_file());
        Self {
            program: program
                .expect("there is no Chromium: `.ci/test` installs it, or: apt-get install chromium"),
        }
    }

    /// Opens the page in a frame of this width.
    pub(crate) fn look(&self, html: &str, width: u32, colours: Colours) -> Seen {
        let folder = stage(html, width, 900);
        let output = self.run(folder.path(), colours, &["--dump-dom"], "frame.html");
        let dom = String::from_utf8(output.stdout).unwrap();
        let (_, rest) = dom.split_once("<pre id=\"measured\" hidden=\"\">").unwrap();
        let measured = rest.split_once("</pre>").unwrap().0;
        let measured = measured
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&nbsp;", "\u{a0}");
        let measured: Value = serde_json::from_str(&measured.replace("&amp;", "&")).unwrap();
        let number = |name: &str| measured[name].as_f64().unwrap();
        let whole = |name: &str| measured[name].as_u64().unwrap();
        let background = measured["background"].as_str().unwrap();
        let parts: Vec<f64> = background
            .split(|character: char| !character.is_ascii_digit())
            .filter_map(|part| part.parse().ok())
            .collect();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Seen {
            text: measured["text"].as_str().unwrap().to_owned(),
            scroll_width: u32::try_from(whole("scroll_width")).unwrap(),
            too_wide: serde_json::from_value(measured["too_wide"].clone()).unwrap(),
            height: u32::try_from(whole("height")).unwrap(),
            brightness: parts.iter().take(3).sum::<f64>() / 3.0 / 255.0,
            smallest_letters: number("smallest_letters"),
            fetched: whole("fetched"),
            scripts: whole("scripts"),
            pictures: whole("pictures"),
            complaints: said
                .lines()
                .filter(|line| line.contains("CONSOLE"))
                .map(ToOwned::to_owned)
                .collect(),
        }
    }

    /// A picture of all of the page, as PNG.
    pub(crate) fn picture(
        &self,
        html: &str,
        width: u32,
        height: u32,
        colours: Colours,
        name: &str,
    ) -> Vec<u8> {
        let folder = stage(html, width, height);
        let file = folder.path().join("picture.png");
        let window = format!("--window-size={},{height}", width.max(500));
        let screenshot = format!("--screenshot={}", file.display());
        self.run(
            folder.path(),
            colours,
            &["--hide-scrollbars", &window, &screenshot],
            "frame.html",
        );
        kept(&file, &format!("{name}.png"))
    }

    /// The page on paper, as PDF.
    pub(crate) fn print(&self, html: &str, name: &str) -> Vec<u8> {
        let folder = stage(html, 1280, 900);
        let file = folder.path().join("page.pdf");
        let print = format!("--print-to-pdf={}", file.display());
        self.run(
            folder.path(),
            Colours::Dark,
            &["--no-pdf-header-footer", &print],
            "page.html",
        );
        kept(&file, &format!("{name}.pdf"))
    }

    fn run(&self, folder: &Path, colours: Colours, arguments: &[&str], file: &str) -> Output {
        let scheme = match colours {
            Colours::Dark => "--blink-settings=preferredColorScheme=0",
            Colours::Light => "--blink-settings=preferredColorScheme=1",
        };
        let output = Command::new(&self.program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args([
                "--no-first-run",
                "--disable-extensions",
                "--disable-background-networking",
            ])
            .args([
                "--host-resolver-rules=MAP * ~NOTFOUND",
                "--allow-file-access-from-files",
            ])
            .args([
                "--enable-logging=stderr",
                "--v=0",
                "--virtual-time-budget=5000",
                scheme,
            ])
            .arg(format!("--user-data-dir={}", folder.join("profile").display()))
            .args(arguments)
            .arg(format!("file://{}", folder.join(file).display()))
            .env("HOME", folder)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }
}

fn stage(html: &str, width: u32, height: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("page.html"), html).unwrap();
    let frame = FRAME
        .replace("WIDTH", &width.to_string())
        .replace("HEIGHT", &height.to_string());
    fs::write(folder.path().join("frame.html"), frame).unwrap();
    folder
}

/// Reads it, and keeps it where somebody wants to look at it.
fn kept(file: &Path, name: &str) -> Vec<u8> {
    let content = fs::read(file).unwrap();
    if let Some(folder) = std::env::var_os("REPORT_PICTURES") {
        let folder = PathBuf::from(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), &content).unwrap();
    }
    content
}
