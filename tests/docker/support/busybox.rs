//! The small image of these tests: a static busybox and nothing else, under two megabytes. Made once per engine, on
//! a fresh Debian machine too, without an image registry: from this machine's busybox where it is static, otherwise
//! from the Debian package `busybox-static`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::sync::OnceCell;
use viatique_deploy::engine::{Engine, ImageId};

/// Its reference.
pub(crate) const BUSYBOX: &str = "viatique-test-busybox:1";

/// The image's id; makes it where it is not there yet.
pub(crate) async fn busybox(engine: &dyn Engine) -> ImageId {
    static MADE: OnceCell<ImageId> = OnceCell::const_new();
    MADE.get_or_init(|| async {
        if engine.image(BUSYBOX).await.unwrap().is_none() {
            tokio::task::spawn_blocking(make).await.unwrap();
        }
        engine.image(BUSYBOX).await.unwrap().unwrap().id
    })
    .await
    .clone()
}

/// Runs the `docker` command, here only as a second opinion and to import the image.
pub(crate) fn docker(words: &[&str]) -> String {
    run(Command::new("docker").args(words))
}

fn make() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    for below in ["bin", "tmp", "etc"] {
        fs::create_dir_all(root.join(below)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    )
    .unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n").unwrap();
    let program = static_busybox(folder.path());
    fs::copy(&program, root.join("bin/busybox")).unwrap();
    for applet in run(Command::new(&program).arg("--list"))
        .lines()
        .filter(|applet| *applet != "busybox")
    {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    let archive = folder.path().join("root.tar");
    run(Command::new("tar")
        .arg("-C")
        .arg(&root)
        .arg("-cf")
        .arg(&archive)
        .arg("."));
    let archive = archive.to_str().unwrap();
    docker(&[
        "import",
        "--change",
        "ENV PATH=/bin",
        "--change",
        "CMD [\"sh\"]",
        archive,
        BUSYBOX,
    ]);
}

fn static_busybox(folder: &Path) -> PathBuf {
    let installed = PathBuf::from("/bin/busybox");
    let linked = Command::new("ldd")
        .arg(&installed)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if installed.exists() && linked.is_ok_and(|status| !status.success()) {
        return installed;
    }
    run(Command::new("apt-get")
        .args(["download", "busybox-static"])
        .current_dir(folder));
    let package = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .expect("apt-get has downloaded the package");
    run(Command::new("dpkg-deb")
        .arg("-x")
        .arg(package)
        .arg(folder.join("package")));
    // Its place moved from /bin to /usr/bin between releases.
    ["package/bin/busybox", "package/usr/bin/busybox"]
        .iter()
        .map(|path| folder.join(path))
        .find(|path| path.exists())
        .expect("the package holds busybox")
}

fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
