//! Gives `--version` its commit: what `CAC_LSPHP_COMMIT` says (the image is built without `.git`),
//! else what git says of this checkout, else nothing; and packs the relocations of the binaries, a thirtieth of their size.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=CAC_LSPHP_COMMIT");
    let named = std::env::var("CAC_LSPHP_COMMIT").ok().filter(|commit| !commit.is_empty());
    let version = match named.or_else(checked_out) {
        Some(commit) => format!("{} ({})", env!("CARGO_PKG_VERSION"), commit.get(..12).unwrap_or(&commit)),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    };
    println!("cargo:rustc-env=CAC_LSPHP_VERSION={version}");
    if unpacks_relocations() {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether a static program of this machine's glibc does that as it starts: from 2.36 on, see its NEWS.
fn unpacks_relocations() -> bool {
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("gnu") {
        return false;
    }
    let version = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    let minor = version.trim().strip_prefix("glibc 2.").and_then(|minor| minor.parse::<u32>().ok());
    minor.is_some_and(|minor| minor >= 36)
}

fn checked_out() -> Option<String> {
    // Sources unpacked somewhere below another project's checkout are not of its commit.
    let directory = std::env::var_os("CARGO_MANIFEST_DIR")?;
    if !Path::new(&directory).join(".git").exists() {
        return None;
    }
    // Written at each commit, checkout and reset, in whichever directory git keeps it.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo:rerun-if-changed={log}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
