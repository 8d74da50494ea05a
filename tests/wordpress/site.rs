//! The site: WordPress as somebody installs and uses it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::project::Project;
use crate::support::{UID, docker, lines, made, repository, run, text, wait_until};

pub const DOMAIN: &str = "example.com";

/// Needs 15 MiB in memory, and its thumbnails' copies beside that.
const DRAW: &str = "$i = imagecreatetruecolor(2400, 1600);
for ($x = 0; $x < 2400; $x++) imageline($i, $x, 0, 2400 - $x, 1600, $x * 7);
imagepng($i);";

const LOGIN: &str = "log=admin&pwd=a-long-secret-1&testcookie=1";

pub struct WordPress {
    pub project: Project,
    root: PathBuf,
    /// A visitor's: cookies as curl keeps them, pictures, and the front end's other configuration.
    files: TempDir,
}

impl WordPress {
    pub fn start() -> Self {
        let project = Project::new(&["tests/wordpress/compose.yaml"]);
        let home = project.home("alice");
        let root = home.join("public_html");
        copy_wordpress(&root);
        own(&home);
        project.up();
        let site = WordPress { project, root, files: tempfile::tempdir().unwrap() };
        let connect = "exit(@mysqli_connect('db', 'alice', 'secret', 'wordpress') ? 0 : 1);";
        wait_until(|| match site.exec(&["cac-lsphp", "exec", "--", "php", "-r", connect]) {
            output if output.status.success() => Ok(()),
            output => Err(format!("the database does not answer: {}", lines(&output))),
        });
        site
    }

    pub fn install(&self) {
        let form = "weblog_title=Proof+of+alice&user_name=admin&admin_email=a@example.com&admin_password=a-long-secret-1\
            &admin_password2=a-long-secret-1&blog_public=0&Submit=Install&language=";
        let answer = self.get("/wp-admin/install.php?step=2", &["-d", form]);
        self.proven("installation", answer, 200, "WordPress has been installed");
    }

    pub fn use_it(&self) {
        self.proven("front page", self.get("/", &[]), 200, "<title>Proof of alice");
        self.proven("WordPress's own 404", self.get("/?p=999999", &[]), 404, "");
        let keep = ["-c", &self.file("cookies")];
        self.get("/wp-login.php", &keep);
        let login = self.get("/wp-login.php", &[&keep[..], &["-i", "-d", LOGIN]].concat());
        self.proven("login", login, 302, "/wp-admin/");
        self.proven("admin page", self.get("/wp-admin/", &[]), 200, "<h1>Dashboard</h1>");
        let (_, seen) = self.get("/?prove", &[]);
        let seen: Value = serde_json::from_str(&seen).unwrap_or_else(|error| panic!("{error}: {seen}"));
        let root = "/home/alice/public_html";
        for (name, expected) in [
            ("document_root", root.to_owned()),
            ("script", format!("{root}/index.php")),
            ("file", format!("{root}/wp-content/mu-plugins/prove.php")),
            ("uploads", format!("{root}/wp-content/uploads")),
            ("upload_max_filesize", "9M".to_owned()), // of the .user.ini
        ] {
            assert_eq!(seen[name], expected, "{name}");
        }
        assert_eq!(seen["uid"], UID);
        println!("proven: absolute paths, .user.ini");
    }

    pub fn upload(&self) {
        let drawn = self.exec(&["php", "-r", DRAW]);
        assert!(drawn.status.success(), "{}", lines(&drawn));
        fs::write(self.file("picture.png"), &drawn.stdout).unwrap();
        self.send_picture();
        let uploads = self.root.join("wp-content/uploads");
        let found = text(run(Command::new("find").arg(&uploads).args(["-name", "picture*"])));
        let found: Vec<&Path> = found.lines().map(Path::new).collect();
        let original = found.iter().find(|path| path.ends_with("picture.png"));
        let original = original.unwrap_or_else(|| panic!("{found:?}"));
        assert_eq!(fs::metadata(original).unwrap().uid(), UID);
        let address = original.strip_prefix(&self.root).unwrap().display().to_string();
        let served = self.file("served.png");
        self.get(&format!("/{address}"), &["-o", &served]);
        assert_eq!(fs::read(&served).unwrap(), drawn.stdout, "what was uploaded");
        assert!(found.iter().any(|path| path.to_string_lossy().contains("picture-")), "{found:?}");
        println!("proven: upload, thumbnails by gd");
    }

    /// One more upload of the same.
    pub fn send_picture(&self) {
        let (_, form) = self.get("/wp-admin/media-new.php", &[]);
        let nonce = form.split("name=\"_wpnonce\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let nonce = format!("_wpnonce={}", nonce.unwrap_or_else(|| panic!("no nonce in {form}")));
        let file = format!("async-upload=@{};type=image/png", self.file("picture.png"));
        let sent =
            self.get("/wp-admin/media-new.php", &["-F", &nonce, "-F", "html-upload=Upload", "-F", &file]);
        assert_eq!(sent.0, 302, "{}", sent.1);
    }

    pub fn run_cron(&self) {
        text(self.exec(&["cac-lsphp", "exec", "--", "php", "public_html/wp-cron.php"]));
        let mark = fs::read_to_string(self.project.home("alice").join("cron")).unwrap();
        assert_eq!(mark, format!("{UID} cli /home/alice/public_html/wp-content/mu-plugins/prove.php\n"));
        println!("proven: cron by cac-lsphp exec");
    }

    /// Anew with another estimate, and with a front end that makes use of that many workers.
    pub fn restart(&mut self, estimate: u64, workers: u64) {
        let vhosts = self.file("vhosts");
        text(run(Command::new("cp").arg("-r").arg(repository("examples/openlitespeed/vhosts")).arg(&vhosts)));
        let file = Path::new(&vhosts).join("alice/vhconf.conf");
        let shipped = fs::read_to_string(&file).unwrap();
        let is_max_conns = |line: &&str| line.trim_start().starts_with("maxConns");
        let line = shipped.lines().find(is_max_conns).unwrap_or_else(|| panic!("no maxConns in {shipped}"));
        fs::write(&file, shipped.replace(line, &format!("  maxConns            {workers}"))).unwrap();
        self.project.set("VHOSTS", &vhosts);
        self.project.set("WORKER_ESTIMATE_MB", &estimate.to_string());
        self.project.up();
        self.project.wait_until_healthy();
        wait_until(|| match self.get("/", &[]) {
            (200, _) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// One request with the cookies that are kept: status and body.
    pub fn get(&self, path: &str, arguments: &[&str]) -> (u16, String) {
        self.project.curl(DOMAIN, path, &[&["-b", &self.file("cookies")], arguments].concat())
    }

    fn file(&self, name: &str) -> String {
        self.files.path().join(name).display().to_string()
    }

    pub fn exec(&self, command: &[&str]) -> Output {
        self.project.exec("alice", command)
    }

    fn proven(&self, what: &str, (status, body): (u16, String), wanted: u16, words: &str) {
        let logs = || lines(&self.project.compose(&["logs", "--tail", "20"]));
        assert_eq!(status, wanted, "{what}: {body}\n{}", logs());
        assert!(body.contains(words), "{what}: no {words:?} in {body}\n{}", logs());
        println!("proven: {what}");
    }
}

/// Debian's, from the image, with a configuration that knows absolute paths only.
fn copy_wordpress(root: &Path) {
    let volume = format!("{}:/target", root.display());
    let image = made("CAC_TEST_IMAGE");
    let copy = ["--entrypoint", "cp", "-v", &volume, &image, "-rL", "/usr/share/wordpress/.", "/target"];
    text(docker([&["run", "--rm", "--network", "none"][..], &copy].concat()));
    let _ = fs::remove_file(root.join("wp-config.php"));
    fs::copy(repository("tests/wordpress/wp-config.php"), root.join("wp-config.php")).unwrap();
    for directory in ["wp-content/mu-plugins", "wp-content/uploads"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let plugin = root.join("wp-content/mu-plugins/prove.php");
    fs::copy(repository("tests/wordpress/prove.php"), plugin).unwrap();
    fs::write(root.join(".user.ini"), "upload_max_filesize = 9M\n").unwrap();
}

fn own(home: &Path) {
    text(run(Command::new("chown").args(["-R", &format!("{UID}:{UID}")]).arg(home)));
}
