use super::postgres::Postgres;
use super::sharing::{Shareable, Waiting};
use super::sql::LookUpStatement;
use super::value::{Row, Value};
use super::{Access, StoreError, Tx, UseCase};

/// A look-up by primary key.
pub(crate) trait LookUp: Clone + PartialEq + Send + Sync + 'static {
    type Found: Clone + Send + 'static;

    fn key(&self) -> Value;

    /// The statement that reads the row.
    fn statement() -> &'static LookUpStatement;

    /// Reads the rows of several look-ups, in any order.
    fn read(rows: &[Row]) -> Result<Vec<Self::Found>, StoreError>;

    /// Whether `found` is what this look-up asked for.
    fn is_found(&self, found: &Self::Found) -> bool;
}

/// Finds one thing in a statement of its own.
pub(super) async fn find<L: LookUp>(
    tx: &mut Tx<'_>,
    look_up: &L,
) -> Result<Option<L::Found>, StoreError> {
    let rows = tx.look_up(L::statement(), vec![look_up.key()]).await?;
    Ok(L::read(&rows)?.pop())
}

/// Several look-ups in one statement.
#[derive(Debug)]
struct LookUpAll<L>(Vec<L>);

impl<L: LookUp> UseCase for LookUpAll<L> {
    type Outcome = Vec<L::Found>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<L::Found>, StoreError> {
        let keys = self.0.iter().map(LookUp::key).collect();
        L::read(&tx.look_up(L::statement(), keys).await?)
    }
}

/// A look-up that shares its statement with others.
impl<L: LookUp> Shareable for L {
    type Answer = Option<L::Found>;

    const LATE: &'static str = "the database did not answer in time";

    fn goes_with(&self, _: &[Waiting<Self>]) -> bool {
        true
    }

    async fn ask(batch: Vec<Waiting<Self>>, postgres: &Postgres) {
        let mut distinct: Vec<L> = Vec::with_capacity(batch.len());
        for waiting in &batch {
            if !distinct.contains(&waiting.wanted) {
                distinct.push(waiting.wanted.clone());
            }
        }
        let shared = distinct.len() > 1;
        let outcome = postgres.perform(LookUpAll(distinct)).await;
        if shared && matches!(outcome, Err(StoreError::Corrupt(_))) {
            // One unreadable row must not fail the others.
            return answer_one_by_one(batch, postgres).await;
        }
        for waiting in batch {
            let pick = |found: &Vec<L::Found>| {
                found.iter().find(|found| waiting.wanted.is_found(found)).cloned()
            };
            let answer = outcome.as_ref().map(pick).map_err(Clone::clone);
            waiting.answer(answer);
        }
    }
}

async fn answer_one_by_one<L: LookUp>(batch: Vec<Waiting<L>>, postgres: &Postgres) {
    for waiting in batch {
        let found = postgres.perform(LookUpAll(vec![waiting.wanted.clone()])).await;
        waiting.answer(found.map(|rows| rows.into_iter().next()));
    }
}
