//! Files that are not read, named as far as their beginning tells, with what can be done.

use jeton_crypto::password;

/// How binary files begin.
const SIGNATURES: [(&[u8], &str, &str); 17] = [
    (b"\x1f\x8b", "a gzip file", "unpack it with `gunzip`"),
    (b"BZh", "a bzip2 file", "unpack it with `bunzip2`"),
    (b"\xfd7zXZ\0", "an xz file", "unpack it with `unxz`"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "unpack it with `unzstd`"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"PAR1", "a Parquet file", "write its rows as CSV, as with DuckDB's COPY"),
    (b"ORC", "an ORC file", "write its rows as CSV"),
    (b"Obj\x01", "an Avro file", "write its records as JSON Lines, as with `avro-tools tojson`"),
    (
        b"SQLite format 3\0",
        "an SQLite database",
        "`jeton import` with the kind of what wrote it reads it, or export the users with `sqlite3 -header -csv`",
    ),
    (b"PGDMP", "a dump of pg_dump", "restore it, and export the users with `psql --csv`"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save its sheet as «CSV UTF-8»"),
    (b"%PDF", "a PDF", "export the users from where they are kept"),
    (b"\xff\xfe\0\0", "a text in UTF-32", "write it in UTF-8, as with `iconv -f UTF-32 -t UTF-8`"),
    (b"\xff\xfe", "a text in UTF-16", "write it in UTF-8, as with `iconv -f UTF-16 -t UTF-8`"),
    (b"\xfe\xff", "a text in UTF-16", "write it in UTF-8, as with `iconv -f UTF-16 -t UTF-8`"),
    (b"bplist", "a binary property list", "write its entries as JSON, as with `plutil`"),
    (b"-----BEGIN", "a key or certificate in PEM", "name the file of the users"),
];

/// What a file that begins so is, if it is none of text in UTF-8.
pub(super) fn describe_octets(begin: &[u8]) -> Option<String> {
    let signature = SIGNATURES.iter().find(|(octets, ..)| begin.starts_with(octets));
    if let Some((_, name, remedy)) = signature {
        return Some(is(name, remedy));
    }
    if begin.starts_with(b"PK\x03\x04") {
        let has = |text: &[u8]| begin.windows(text.len()).any(|window| window == text);
        let is_sheet = has(b"[Content_Types].xml") || has(b"xl/") || has(b"opendocument");
        return Some(if is_sheet {
            is("a workbook of Excel or LibreOffice", "save its sheet as «CSV UTF-8»")
        } else {
            is("a zip archive", "unpack it with `unzip`")
        });
    }
    if begin.get(257..262) == Some(b"ustar") {
        return Some(is("a tar archive", "unpack it with `tar`"));
    }
    let at = begin.iter().position(|octet| *octet == 0)?;
    Some(if at < 2 {
        is(
            "a text in UTF-16 without its mark",
            "write it in UTF-8, as with `iconv -f UTF-16LE -t UTF-8`",
        )
    } else {
        let line = line_of(begin, at);
        format!(
            "line {line} has a zero octet, as no text has: export the users as CSV or JSON in UTF-8"
        )
    })
}

/// What a file of JSON is that begins with an object which is no user.
pub(super) fn describe_object(begin: &str) -> Option<String> {
    let has = |name: &str| begin.contains(&format!("\"{name}\""));
    if has("localId") || has("passwordHash") && has("users") {
        return Some(is_here(
            "an export of Firebase, whose hashes need a key of its project",
            "`jeton import firebase` reads it",
        ));
    }
    // A user with a hash may have the credentials of an authenticator as Keycloak exports them.
    let is_user = has("username") && has("password_hash");
    let is_of_keycloak =
        has("realm") || has("secretData") || has("credentialData") || has("credentials");
    if is_of_keycloak && !is_user {
        return Some(is_here("an export of Keycloak", "`jeton import keycloak` reads it"));
    }
    if has("Users") && has("Attributes") {
        return Some(is_here(
            "a list of Amazon Cognito, which gives out no hashes",
            "write its users as JSON Lines with username and sub; they need new passwords",
        ));
    }
    let first = begin.lines().next().unwrap_or_default().trim_end();
    // An object on one line is taken for the first of many.
    let is_one_line = serde_json::from_str::<serde_json::Value>(first).is_ok();
    let is_list_within = is_one_line && has("users") && !has("username");
    (is_list_within || first.ends_with(['{', '[', ','])).then(|| {
        is_here(
            "one JSON object over several lines, or with a list in it",
            "write a list of objects, or an object a line, as with `jq -c '.users[]'`",
        )
    })
}

/// What a text is whose first line is no header of users.
pub(super) fn describe_text(begin: &str) -> Option<String> {
    let (number, line) =
        begin.lines().enumerate().find(|(_, line)| !line.trim().is_empty()).unwrap_or((0, ""));
    let sql = ["insert into", "create table", "copy ", "-- postgresql", "-- mysql", "pragma "];
    let is_sql = |line: &str| {
        let line = line.to_ascii_lowercase();
        sql.iter().any(|word| line.starts_with(word))
    };
    if let Some((number, _)) = begin.lines().enumerate().find(|(_, line)| is_sql(line)) {
        return Some(at(
            number,
            "SQL",
            "load the dump into its database, and export the users from there as CSV",
        ));
    }
    let begins = |word: &str| line.starts_with(word);
    let described = if begins("dn:") || begins("version: 1") || begins("# extended LDIF") {
        ("LDIF", "`jeton import ldap` reads it")
    } else if line.trim_start().starts_with('<') {
        ("XML or HTML", "export the users as CSV or JSON")
    } else if begins("---") || begins("- ") {
        ("YAML", "write it as JSON, as with `yq -o json`")
    } else if begins("+--") || begins("| ") {
        ("a table as a terminal shows it", "export the users as CSV, as with `--csv` of psql")
    } else if let Some(of_colons) = describe_colons(line) {
        of_colons
    } else if begins("[") {
        ("a section of an INI file", "export the users as CSV or JSON")
    } else if line.split([',', ';', '\t']).any(password::looks_like_hash) {
        (
            "a user and not a header",
            "put a line with the names of the columns before it: `username,password_hash`",
        )
    } else if !line.contains(',') && line.contains(';') {
        ("separated by semicolons", "save the file with commas between its columns")
    } else if !line.contains(',') && line.contains('\t') {
        ("separated by tabulators", "save the file with commas between its columns")
    } else {
        return None;
    };
    Some(at(number, described.0, described.1))
}

/// Files of the system and of web servers, which have colons between their fields.
fn describe_colons(line: &str) -> Option<(&'static str, &'static str)> {
    if line.contains(',') && !line.contains(":/") {
        return None;
    }
    let fields: Vec<&str> = line.split(':').collect();
    let is_hash = fields.get(1).is_some_and(|field| password::looks_like_hash(field));
    let is_digest =
        |field: &&str| field.len() == 32 && field.bytes().all(|o| o.is_ascii_hexdigit());
    match fields.len() {
        7 if fields.last().is_some_and(|shell| shell.starts_with('/')) => {
            Some(("a line of /etc/passwd, which has no hashes", "see whether /etc/shadow has any"))
        }
        9 => Some((
            "a line of /etc/shadow",
            "those with `$5$`, `$6$` or `$2y$` can be imported: write `username,password_hash` above them and keep the \
             first two fields, with a comma between",
        )),
        3 if fields.get(2).is_some_and(is_digest) => Some((
            "a line of htdigest",
            "its hashes are MD5, which is not read: these users need new passwords",
        )),
        2 if is_hash => Some((
            "a line of htpasswd",
            "those with `$2y$` can be imported: put commas for the colons and `username,password_hash` \
             in a line before them",
        )),
        _ => None,
    }
}

fn is(name: &str, remedy: &str) -> String {
    format!("it is {name}: {remedy}")
}

fn is_here(name: &str, remedy: &str) -> String {
    format!("what begins in line 1 is {name}: {remedy}")
}

fn at(line: usize, name: &str, remedy: &str) -> String {
    format!("line {} is {name}: {remedy}", line + 1)
}

fn line_of(text: &[u8], at: usize) -> usize {
    1 + text.iter().take(at).filter(|octet| **octet == b'\n').count()
}
