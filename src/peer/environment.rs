//! `envi`: the machine and the user, read from the files where the system tells them.

use crate::four_letter::Environment;

/// What `envi` tells.
pub(super) fn environment() -> Environment {
    let line = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    // As Java does it: the system's list decides, not the environment, which may be another user's (`sudo`, a service).
    let (name, home) = match number("Uid:").and_then(|uid| user(&users, uid)) {
        Some((name, home)) => (name.to_owned(), home.to_owned()),
        None => (variable("USER"), variable("HOME")),
    };
    Environment {
        host_name: line("/proc/sys/kernel/hostname"),
        os_name: line("/proc/sys/kernel/ostype"),
        os_arch: Some(architecture(std::env::consts::ARCH).to_owned()),
        os_version: line("/proc/sys/kernel/osrelease"),
        user_name: Some(name),
        user_home: Some(home),
        user_dir: std::env::current_dir().ok().map(|dir| dir.display().to_string()),
        memory_free_mib: None,
        memory_max_mib: number("VmPeak:").map(|kib| kib / 1024),
        memory_total_mib: number("VmRSS:").map(|kib| kib / 1024),
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| "?".to_owned())
}

/// Name and home of the user numbered `uid` in the text of a passwd file.
fn user(passwd: &str, uid: u64) -> Option<(&str, &str)> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(uid)).then_some((*fields.first()?, *fields.get(5)?))
    })
}

/// The name Java has for an architecture.
fn architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_number() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\n# a comment: x\nzoe:x:1000:1000::/home/zoe:/bin/sh\n";
        let check = |uid, expected| assert_eq!(user(passwd, uid), expected, "{uid}");
        check(0, Some(("root", "/root")));
        check(1000, Some(("zoe", "/home/zoe")));
        check(1, None);
    }
}
