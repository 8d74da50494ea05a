//! `scripts/build-images`: the tags, the labels, the size.

use std::process::{Command, Output};

use crate::support::{docker, made, text};
use crate::{repository, run};

/// What the image may add to its base: two binaries, ini files and the ping script.
const MOST_ADDED: u64 = 6 << 20;

fn build_images(name: &str, versions: &[&str]) -> Output {
    let mut command = Command::new(repository("scripts/build-images"));
    command.args(versions).env("DOCKER", made("CAC_TEST_DOCKER")).env("IMAGE", name);
    run(command.env("BASE_IMAGE", made("CAC_TEST_BASE")).env("BINARY", "prebuilt"))
}

fn inspect(image: &str, format: &str) -> String {
    text(docker(["image", "inspect", "--format", format, image])).trim().to_owned()
}

/// A tag that is gone when the test ends.
struct Tag(String);

impl Drop for Tag {
    fn drop(&mut self) {
        docker(["rmi", &self.0]);
    }
}

#[test]
fn each_version_gets_a_tag_that_says_what_it_is() {
    let name = format!("cac-test-images-{}", std::process::id());
    let tag = Tag(format!("{name}:php82"));
    let built = text(build_images(&name, &["82"]));
    assert_eq!(built, format!("{} {}\n", tag.0, inspect(&tag.0, "{{.Id}}")));

    let label = |name: &str| inspect(&tag.0, &format!("{{{{index .Config.Labels {name:?}}}}}"));
    let commit = text(run(Command::new("git").args(["rev-parse", "HEAD"]).current_dir(repository("."))));
    for (name, expected) in [
        ("title", "cac-lsphp"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("revision", commit.trim()),
        ("licenses", "MIT"),
        ("base.name", &made("CAC_TEST_BASE")),
    ] {
        assert_eq!(label(&format!("org.opencontainers.image.{name}")), expected, "{name}");
    }
    let version = text(docker(["run", "--rm", "--network", "none", &tag.0, "--version"]));
    assert_eq!(version, format!("cac-lsphp {} ({})\n", env!("CARGO_PKG_VERSION"), &commit[..12]));
}

#[test]
fn the_image_adds_little_to_its_base() {
    let size = |image: &str| inspect(image, "{{.Size}}").parse::<u64>().unwrap();
    // The test base has the ldap extension already.
    let added = size(&made("CAC_TEST_IMAGE")).checked_sub(size(&made("CAC_TEST_BASE"))).unwrap();
    assert!((1..=MOST_ADDED).contains(&added), "{added} bytes");
}

#[test]
fn a_version_without_an_image_is_refused_before_anything_is_built() {
    let name = format!("cac-test-no-images-{}", std::process::id());
    let output = build_images(&name, &["82", "56"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("81 82 83 84 85"), "{output:?}");
    assert!(!docker(["image", "inspect", &format!("{name}:php82")]).status.success());
}
