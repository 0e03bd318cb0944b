//! Who runs this command: what the system says, and what they say themselves.

use std::fs::read_to_string;

use jeton_crypto::random;
use jeton_runtime::clock::Clock;
use jeton_store::operator_acts::Operator;

/// The operator of this process, with the name that `--as` claims.
pub(super) fn operator(claimed_name: Option<&str>) -> Operator {
    let users = read_to_string("/etc/passwd").unwrap_or_default();
    let system_user = name_of(&users, rustix::process::geteuid().as_raw());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let login_user = login_uid().map(|uid| name_of(&users, uid));
    let login_user = login_user.filter(|login| *login != system_user);
    let mut operator = Operator::new(system_user, host, random::token_id(), Clock::System);
    operator.login_user = login_user;
    operator.claimed_name = claimed_name.map(str::to_owned);
    operator
}

/// The user that logged in before `sudo` or `su`, if the kernel knows it.
fn login_uid() -> Option<u32> {
    let text = read_to_string("/proc/self/loginuid").ok()?;
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}

/// The name of a user in a file such as `/etc/passwd`; one that is not there, as those of a directory service, is named
/// by the number.
fn name_of(users: &str, uid: u32) -> String {
    let found = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    });
    found.unwrap_or_else(|| format!("uid {uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_named_as_the_system_names_them() {
        let users = "root:x:0:0:root:/root:/bin/sh\n\njeton:x:998:998::/var/lib/jeton:/bin/false\n";
        for (uid, name) in [(0, "root"), (998, "jeton"), (1_000, "uid 1000")] {
            assert_eq!(name_of(users, uid), name);
        }
    }
}
