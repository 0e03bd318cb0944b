//! `jeton doctor`: what `jeton_doctor` found, for a person or as JSON.

use super::{Failure, output, prompt};
use jeton_doctor::{Finding, Options};

/// Looks at a service, and says what was found.
pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let ask = || prompt::password(options.password_stdin());
    let findings = jeton_doctor::run(&options, ask).await?;
    print(&findings, options.json());
    verdict(&findings)
}

fn print(findings: &[Finding], json: bool) {
    if json {
        return output::json(&findings);
    }
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
    for Finding { check, outcome, found, remedy } in findings {
        output::line(&format!("{:7}  {check:width$}  {found}", outcome.word()));
        if let Some(remedy) = remedy {
            output::line(&format!("{:7}  {:width$}  -> {remedy}", "", ""));
        }
    }
}

/// Whether all is well, as the exit code says it.
fn verdict(findings: &[Finding]) -> Result<(), Failure> {
    match findings.iter().filter(|finding| finding.is_wrong()).count() {
        0 => Ok(()),
        1 => Err("one thing is wrong: what to do stands below it".into()),
        wrong => {
            Err(Failure::failed(format!("{wrong} things are wrong: what to do stands below each")))
        }
    }
}

#[cfg(test)]
mod tests {
    use jeton_doctor::Outcome;

    use super::*;

    #[test]
    fn only_what_is_wrong_fails() {
        let finding = |outcome| Finding {
            check: "a.b",
            outcome,
            found: "seen".to_owned(),
            remedy: Some("mend it".to_owned()),
        };
        let mut all = [Outcome::Ok, Outcome::Note, Outcome::Warning].map(finding).to_vec();
        assert_eq!(verdict(&all), Ok(()));
        all.push(finding(Outcome::Wrong));
        assert!(verdict(&all).is_err());
    }
}
