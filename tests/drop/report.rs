//! What the probe saw, and what must be so whatever the start was.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The probe's JSON.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Report(BTreeMap<String, Value>);

impl Report {
    pub fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or_else(|| panic!("the probe reports no {name}"))
    }

    fn words(&self, name: &str) -> Vec<&str> {
        self.get(name).as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
    }

    pub fn ids(&self, name: &str) -> Vec<u32> {
        self.words(name).iter().map(|word| word.parse().unwrap()).collect()
    }

    /// A line of one hexadecimal number.
    pub fn mask(&self, name: &str) -> u64 {
        u64::from_str_radix(self.words(name)[0], 16).unwrap()
    }

    pub fn environment(&self) -> BTreeMap<&str, &str> {
        self.words("environment").iter().map(|text| text.split_once('=').unwrap()).collect()
    }

    /// The effective uid and gid and the effective capabilities of a program with more on disk.
    pub fn gain(&self, name: &str) -> (u64, u64, u64) {
        let gain = self.get(name);
        let number = |key: &str| gain[key].as_u64().unwrap_or_else(|| panic!("{name}: {gain}"));
        let capabilities = u64::from_str_radix(gain["CapEff"].as_str().unwrap(), 16).unwrap();
        (number("euid"), number("egid"), capabilities)
    }

    /// lsphp as the contract wants it.
    pub fn assert_site(&self, user: &str, uid: u32, gid: u32) {
        self.assert_dropped(user, uid, gid);
        assert_eq!(self.words("argv"), ["lsphp", "-b", "0.0.0.0:9000"]);
        assert_eq!(self.get("descriptors")["0"], "/dev/null");
    }

    /// Every fact of the contract that also holds for an operator's command, but the bounding set and
    /// `no_new_privs`, which depend on the start.
    pub fn assert_dropped(&self, user: &str, uid: u32, gid: u32) {
        assert_eq!(self.ids("Uid"), [uid; 4], "real, effective, saved, file system uid");
        assert_eq!(self.ids("Gid"), [gid; 4], "real, effective, saved, file system gid");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(self.mask(set), 0, "{set}");
        }
        for signals in ["SigBlk", "SigIgn", "SigCgt", "SigPnd"] {
            assert_eq!(self.mask(signals), 0, "{signals}");
        }
        assert_eq!(self.words("Umask"), ["0022"]);
        assert_eq!(self.get("keepcaps"), 0);
        assert_eq!(self.get("cwd"), &format!("/home/{user}"));
        let descriptors = self.get("descriptors").as_object().unwrap();
        assert_eq!(descriptors.keys().collect::<Vec<_>>(), ["0", "1", "2"]);
        self.assert_environment(user);
    }

    fn assert_environment(&self, user: &str) {
        let environment = self.environment();
        let home = format!("/home/{user}");
        for (name, value) in
            [("HOME", home.as_str()), ("USER", user), ("LOGNAME", user), ("SHELL", "/bin/sh")]
        {
            assert_eq!(environment.get(name), Some(&value), "{name}");
        }
        assert!(environment.keys().all(|name| !name.starts_with("CAC_")), "{environment:?}");
        assert!(!environment.contains_key("LSAPI_PGRP_MAX_IDLE"));
        // The launcher's pid: lsphp is the same process.
        if let Some(pid) = environment.get("LAUNCHER_PID") {
            assert_eq!(self.get("pid"), &pid.parse::<u64>().unwrap());
        }
    }

    /// With `no_new_privs` no program on disk gives anything.
    pub fn assert_nothing_to_gain(&self, uid: u32, gid: u32) {
        assert_eq!(self.words("NoNewPrivs"), ["1"]);
        for program in ["setuid", "setgid"] {
            assert_eq!(self.gain(program), (uid.into(), gid.into(), 0), "{program}");
        }
        // A capability that the bounding set does not have makes exec fail.
        if self.get("file_capability") != "not executed" {
            assert_eq!(self.gain("file_capability"), (uid.into(), gid.into(), 0));
        }
    }
}
