//! The commands of `jeton key` that read a secret from a file: `import` and `recover`.

use std::io::Read;
use std::path::Path;

use super::key::{Asking, Intent, administer, administration, by_replicas};
use super::{Failure, open_store, output};
use jeton_crypto::recovery::Identity;
use jeton_service::keys::administration::read_private_key;

/// Reads a file, or standard input.
fn read_secret(file: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, Failure> {
    let mut text = zeroize::Zeroizing::new(Vec::new());
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut text)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut text))
    };
    read.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(text)
}

pub(super) async fn import(file: &Path, asking: &Asking) -> Result<(), Failure> {
    let text = read_secret(file)?;
    let key =
        read_private_key(&text).map_err(|problem| format!("{}: {problem}", file.display()))?;
    let store = open_store(&asking.common.database).await?;
    let keys = administer(store, &asking.common, Intent::Change).await?;
    let keys = by_replicas(keys).await?;
    keys.check_masters().await?;
    let lead = keys.key_store.schedule.lead;
    asking.confirmation.ask(
        &format!(
            "The key {} will be published now and sign in {lead}, when verifiers that honour the \
             Cache-Control of the JWKS know it; at once if there is no key yet. Destroy other copies \
             of its private half.",
            key.public.kid
        ),
    )?;
    let (kid, signs_at) = keys.import(key).await?;
    output::line(&format!("The key {kid} was added and signs from {signs_at} on."));
    Ok(())
}

pub(super) async fn recover(file: &Path, asking: &Asking) -> Result<(), Failure> {
    let text = read_secret(file)?;
    let identity =
        Identity::read(&text).map_err(|problem| format!("{}: {problem}", file.display()))?;
    // It writes no date, so the clock does not matter.
    let keys = administration(&asking.common, Intent::Look).await?;
    asking.confirmation.ask(
        "The data key will be sealed under the first --master-key-file, so that sealed password hashes open with it. \
         Give that file to every replica.",
    )?;
    let recovered = keys.recover(&identity).await?;
    for kid in &recovered.keys {
        output::line(&format!("The data key {kid} was recovered."));
    }
    for problem in &recovered.closed {
        output::error_line(&format!(
            "{problem}. Hashes that it seals stay closed: set other passwords for their users with `jeton user passwd`"
        ));
    }
    output::line(
        "Keys that make tokens are sealed for no recovery key: if their master key is lost, `jeton key revoke --lost` \
         withdraws them, and everybody logs in again.",
    );
    Ok(())
}
