use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use jeton_oauth::{Invalid, Secret};

/// Where the data is: the value of `--database`.
#[derive(Clone, Debug)]
pub enum DatabaseLocation {
    /// SQLite: the path of the file.
    Sqlite(PathBuf),
    /// PostgreSQL: the URL, which may hold a password.
    Postgres(Secret),
}

impl FromStr for DatabaseLocation {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(Secret::new(text.to_owned())));
        }
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            _ => Err(Invalid::new("write it as sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME")),
        }
    }
}

impl fmt::Display for DatabaseLocation {
    /// Writes the location without its password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
            Self::Postgres(url) => formatter
                .write_str(&without_password(url.expose()).unwrap_or("postgres://…".into())),
        }
    }
}

/// A URL without its password and options; `None` if it is unclear which part is the password.
fn without_password(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
    // The question mark may be part of the password.
    if options.contains('@') || rest.contains('#') {
        return None;
    }
    let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
    let name = user.split_once(':').map_or(user, |(name, _)| name);
    let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
    // Without a host, user and password would be read as one.
    let is_host = |host: &str| {
        let within = host.rfind(']').map_or(0, |at| at + 1);
        let port = host.get(within..)?.rsplit_once(':').map(|(_, port)| port);
        let is_number = |port: &str| port.len() <= 5 && port.bytes().all(|o| o.is_ascii_digit());
        let allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"._-:[]%".contains(&octet);
        (host.bytes().all(allowed) && port.is_none_or(is_number)).then_some(())
    };
    hosts.split(',').all(|host| is_host(host).is_some()).then_some(())?;
    let at = if name.is_empty() { "" } else { "@" };
    let slash = if place.contains('/') { "/" } else { "" };
    Some(format!("{scheme}://{name}{at}{hosts}{slash}{database}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_shown_without_its_password() {
        for (url, shown) in [
            ("sqlite:a/b.db", "sqlite:a/b.db"),
            ("postgres://u:p@ss@h:1,h2/db?sslmode=x", "postgres://u@h:1,h2/db"),
            ("postgres://h/db?password=p", "postgres://h/db"),
            ("postgres://u:p@s?s@h/db", "postgres://…"),
            ("postgres://u:p?p@ss@h/db?sslmode=x", "postgres://…"),
            ("postgres://h/db?user=u&password=p@ss", "postgres://…"),
            ("postgres://u:p@ss", "postgres://u@ss"),
            ("postgres://u:p-s/db", "postgres://…"),
            ("postgres://u:p-s", "postgres://…"),
            ("postgres://u:p?s", "postgres://…"),
            ("postgres://u:p#s@h/db", "postgres://…"),
            ("postgres://[::1]:5432,h:1/db", "postgres://[::1]:5432,h:1/db"),
            ("postgres://u@/db?host=/run/postgresql", "postgres://u@/db"),
        ] {
            let location: DatabaseLocation = url.parse().expect("a valid location");
            assert_eq!(location.to_string(), shown);
            assert!(!format!("{location:?}").contains("p@ss"));
        }
    }
}
