//! Podman beside the machine's own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::run;
use crate::support::{made, text};

/// podman with its own storage, gone when it is dropped.
pub struct Podman {
    folder: TempDir,
}

impl Podman {
    /// With the image under test, as `localhost/cac-lsphp:php83`.
    pub fn with_image() -> Self {
        let podman = Podman { folder: tempfile::tempdir().unwrap() };
        // runc, because crun refuses hybrid cgroups; the limits, because root may not raise its own here.
        let configuration = "[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
            [containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=32768:32768\"]\n";
        fs::write(podman.path("containers.conf"), configuration).unwrap();
        let mut save = Command::new(made("CAC_TEST_DOCKER"));
        let mut save = save.args(["save", &made("CAC_TEST_IMAGE")]).stdout(Stdio::piped()).spawn().unwrap();
        let load = run(podman.command(&["load", "-q"]).stdin(save.stdout.take().unwrap()));
        assert!(save.wait().unwrap().success());
        let loaded = text(load);
        let id = loaded.trim().rsplit("sha256:").next().unwrap();
        text(podman.run(&["tag", id, "localhost/cac-lsphp:php83"]));
        podman
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command.env("CONTAINERS_CONF", self.path("containers.conf"));
        command.arg("--root").arg(self.path("root")).arg("--runroot").arg(self.path("run"));
        command.args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        run(&mut self.command(arguments))
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.run(&["pod", "rm", "-fa"]);
        self.run(&["rm", "-fa"]);
        run(Command::new("umount").arg(self.path("root/overlay")));
    }
}
