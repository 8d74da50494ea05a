//! Cached files of which each byte of the header is another, and many of the rest.

use std::fs;
use std::path::Path;

use crate::support::{Running, docker, text};
use crate::{body, cached, cached_file, home};

/// PHP's header, and bytes of code beyond it.
const HEADER: usize = 80;
const BODY: usize = 200;

/// With a class, so that there is something to be broken.
fn page(number: usize) -> String {
    format!(
        "<?php class Page{number} {{ private array $words = ['page', 'number']; function say(int ...$numbers): string {{ return implode(' ', $this->words) . ' ' . array_sum($numbers); }} }} echo (new Page{number})->say({number});"
    )
}

fn name(number: usize) -> String {
    format!("page{number}.php")
}

/// Which pages are not answered as they must be.
fn unanswered(site: &Running) -> Vec<usize> {
    let is_right = |number: &usize| {
        let request = crate::support::as_front_end(&name(*number));
        let answer = site.client().fetch(&request, None, crate::support::PATIENCE);
        answer.is_ok_and(|answer| answer.body == format!("page number {number}").into_bytes())
    };
    (0..HEADER + BODY).filter(|number| !is_right(number)).collect()
}

fn damage(cache: &Path, number: usize) {
    let file = cached_file(cache, &name(number));
    let mut bytes = fs::read(&file).unwrap();
    let at = match number.checked_sub(HEADER) {
        None => number,
        // Spread over all of it.
        Some(number) => HEADER + number * (bytes.len() - HEADER) / BODY,
    };
    bytes[at] ^= 0x55;
    fs::write(&file, bytes).unwrap();
}

#[test]
fn no_damage_outlives_a_reset() {
    let home = home();
    let site =
        (0..HEADER + BODY).fold(cached(home.path()), |site, number| site.page(&name(number), &page(number)));
    let site = site.start();
    assert_eq!(unanswered(&site), Vec::<usize>::new());
    drop(site);
    let cache = home.path().join(".opcache");
    (0..HEADER + BODY).for_each(|number| damage(&cache, number));

    let site = cached(home.path()).start();
    let broken = unanswered(&site);
    println!("PHP does not answer with these bytes changed: {broken:?}");
    // What it does not check: sizes, and where the script is. All else it finds and compiles anew.
    assert!(broken.iter().all(|byte| (40..64).contains(byte)), "{broken:?}\n{}", site.logs());
    assert!(!broken.is_empty(), "PHP checks everything: then what this is about is gone");
    drop(site);

    let again = cached(home.path()).start();
    assert_eq!(unanswered(&again), broken, "a restart mends nothing");
    let doctor = docker(["exec", &again.name, "cac-lsphp", "doctor"]);
    let found = String::from_utf8(doctor.stdout).unwrap();
    let named = format!("file cache: {} of its ", broken.len());
    assert!(found.contains(&named) && found.contains("cac-lsphp opcache reset"), "{broken:?}: {found}");
    text(docker(["exec", &again.name, "cac-lsphp", "opcache", "reset"]));
    assert_eq!(unanswered(&again), Vec::<usize>::new());
}

#[test]
fn a_file_of_any_length_is_compiled_anew() {
    let home = home();
    let site = cached(home.path()).page(&name(1), &page(1)).start();
    assert_eq!(body(&site, &name(1)), "page number 1");
    drop(site);
    let file = cached_file(&home.path().join(".opcache"), &name(1));
    let whole = fs::read(&file).unwrap();
    for length in [0, 1, 79, 80, 81, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        let site = cached(home.path()).start();
        assert_eq!(body(&site, &name(1)), "page number 1", "{length} of {} bytes", whole.len());
    }
}

#[test]
fn a_reset_needs_no_lsphp_for_what_is_on_disk() {
    let home = home();
    let site = cached(home.path()).page(&name(1), &page(1)).start();
    assert_eq!(body(&site, &name(1)), "page number 1");
    let file = cached_file(&home.path().join(".opcache"), &name(1));
    text(docker(["kill", "--signal", "STOP", &site.name]));
    // A worker that has been idle for a second may have left.
    site.exec(["sh", "-c", "for worker in $(cat /proc/1/task/1/children); do kill -STOP $worker; done"]);
    let output = docker(["exec", &site.name, "cac-lsphp", "opcache", "reset", "--timeout", "1s"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the file cache is empty now (files removed: 1)"), "{told}");
    assert!(!file.exists());
    text(docker(["kill", "--signal", "KILL", &site.name]));
}
