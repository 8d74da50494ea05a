use super::*;
use crate::identity::{Gid, Uid};

fn capabilities(mask: u64) -> Capabilities {
    let sets = CapabilitySets { effective: mask, permitted: mask, inheritable: 0 };
    Capabilities { sets, bounding: mask, ambient: 0 }
}

fn ids(id: u32) -> Ids {
    Ids { real: id, effective: id, saved: id }
}

fn root() -> Credentials {
    Credentials {
        uids: ids(0),
        gids: ids(0),
        groups: vec![0, 4],
        capabilities: capabilities(!0),
        no_new_privs: false,
        ignored_signals: 0,
    }
}

fn site() -> Credentials {
    Credentials {
        uids: ids(1000),
        gids: ids(1001),
        groups: vec![1001],
        capabilities: capabilities(0),
        no_new_privs: true,
        ignored_signals: 0,
    }
}

fn target() -> Target {
    Target { uid: Uid::new(1000).unwrap(), gid: Gid::new(1001).unwrap(), no_new_privs: true }
}

const STATUS: &str = "Name:\tcac-lsphp\nUid:\t1000\t1000\t1000\t1000\nGid:\t1001\t1001\t1001\t1001\n\
    Groups:\t1001 \nSigIgn:\t0000000000001000\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
    CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n";

#[test]
fn the_kernels_lines_are_read() {
    let expected = Status {
        uids: Some(ids(1000)),
        gids: Some(ids(1001)),
        groups: Some(vec![1001]),
        inheritable: Some(0),
        permitted: Some(0),
        effective: Some(0),
        bounding: Some(0),
        ambient: Some(0),
        no_new_privs: Some(true),
        ignored_signals: Some(1 << 12),
    };
    assert_eq!(Status::parse(STATUS), Ok(expected));
    let without_groups = STATUS.replace("1001 \n", "\n");
    assert_eq!(Status::parse(&without_groups).map(|read| read.groups), Ok(Some(vec![])));
    assert_eq!(Status::parse("Name:\tcac-lsphp\n"), Ok(Status::default()), "no line must be there");
}

#[test]
fn a_line_that_makes_no_sense_is_named() {
    for line in STATUS.lines().skip(1) {
        let (name, value) = line.split_once(':').unwrap();
        assert!(Status::parse(&STATUS.replace(line, "")).is_ok(), "{name}");
        if name != "NoNewPrivs" {
            let garbled = STATUS.replace(&format!("{name}:{value}"), &format!("{name}:x"));
            assert_eq!(Status::parse(&garbled), Err(name));
        }
    }
}

#[test]
fn the_planned_state_passes() {
    assert!(check(&root(), &site(), target()).is_ok());
}

#[test]
fn each_single_difference_is_refused() {
    type Difference = (&'static str, fn(&mut Credentials));
    let differences: [Difference; 13] = [
        ("user ids", |c| c.uids.real = 0),
        ("user ids", |c| c.uids.effective = 0),
        ("user ids", |c| c.uids.saved = 0),
        ("group ids", |c| c.gids.real = 0),
        ("group ids", |c| c.gids.saved = 0),
        ("supplementary groups", |c| c.groups = vec![]),
        ("supplementary groups", |c| c.groups = vec![1001, 4]),
        ("inheritable capabilities", |c| c.capabilities.sets.inheritable = 1),
        ("permitted capabilities", |c| c.capabilities.sets.permitted = 1 << 40),
        ("effective capabilities", |c| c.capabilities.sets.effective = 1),
        ("ambient capabilities", |c| c.capabilities.ambient = 1),
        ("bounding capabilities", |c| c.capabilities.bounding = 1 << 63),
        ("no_new_privs", |c| c.no_new_privs = false),
    ];
    for (fact, differ) in differences {
        let mut after = site();
        differ(&mut after);
        let message = check(&root(), &after, target()).unwrap_err().to_string();
        assert!(message.contains(fact), "{fact}: {message}");
    }
}

#[test]
fn without_setpcap_the_bounding_set_may_stay() {
    let mut before = root();
    before.capabilities.sets.effective &= !Capability::CAP_SETPCAP.bitmask();
    let mut after = site();
    after.capabilities.bounding = 1;
    assert!(check(&before, &after, target()).is_ok());
}

#[test]
fn only_a_non_root_start_may_keep_its_groups() {
    let mut after = site();
    after.groups = vec![0, 4];
    assert!(check(&root(), &after, target()).is_err());
    let mut before = site();
    before.groups = vec![0, 4];
    assert!(check(&before, &after, target()).is_ok());
}
