//! `nearlight stake`: what operators and checkers have at stake, and what they earned.

use crate::cli::{Broker, StakeCommand};
use crate::client::Client;
use crate::command::{CommandError, show};
use crate::table;
use nearlight_protocol::stake::{
    MoveStake, StakeAccount, StakeDirection, StakeList, StakeTransfer,
};
use nearlight_protocol::unit::{U64, rfc3339};

/// Shows accounts, deposits and withdraws.
///
/// # Errors
/// [`CommandError`].
pub fn stake(command: &StakeCommand, broker: &Broker) -> Result<(), CommandError> {
    let client = Client::new(broker)?;
    let (direction, account, amount_micro) = match command {
        StakeCommand::Show { account } => {
            let query = account.as_ref().map(|name| format!("?account={name}"));
            let path = format!("/v1/stakes{}", query.unwrap_or_default());
            let list: StakeList = client.get(&path)?;
            show(broker, &list, || lines(&list));
            return Ok(());
        }
        StakeCommand::Deposit {
            account,
            amount_micro,
        } => (StakeDirection::Deposit, account, *amount_micro),
        StakeCommand::Withdraw {
            account,
            amount_micro,
        } => (StakeDirection::Withdraw, account, *amount_micro),
    };
    let body = MoveStake {
        // Once, however often the answer is lost.
        id: nearlight_kit::ids::request().to_string(),
        direction,
        account: account.clone(),
        amount_micro: U64(amount_micro),
    };
    let now: StakeAccount = client.post_once("/v1/stakes", &body)?;
    show(broker, &now, || accounts(std::slice::from_ref(&now)));
    Ok(())
}

fn lines(list: &StakeList) -> String {
    let mut out = match list.accounts.is_empty() {
        true => "no account\n".to_owned(),
        false => accounts(&list.accounts),
    };
    if !list.transfers.is_empty() {
        let rows: Vec<_> = list.transfers.iter().map(transfer).collect();
        let head = ["WHEN", "KIND", "MICRO", "FROM", "TO", "RECEIPTS", "WHY"];
        out += &table::lay_out(head, &rows);
    }
    out
}

fn accounts(accounts: &[StakeAccount]) -> String {
    let row = |of: &StakeAccount| {
        let gone = of.debits_micro.0.saturating_add(of.held_micro.0);
        // The world has less than nothing: what it gave is in the others.
        let free = i128::from(of.credits_micro.0) - i128::from(gone);
        [
            table::cell_of(&of.account),
            free.to_string(),
            of.held_micro.0.to_string(),
            of.credits_micro.0.to_string(),
            of.debits_micro.0.to_string(),
        ]
    };
    let rows: Vec<_> = accounts.iter().map(row).collect();
    table::lay_out(["ACCOUNT", "FREE", "HELD", "CAME", "WENT"], &rows)
}

fn transfer(of: &StakeTransfer) -> [String; 7] {
    let receipts: Vec<String> = of.receipts.iter().map(u64::to_string).collect();
    let kind = match of.until_unix_ms {
        Some(until) => format!("{} until {}", of.kind, rfc3339(until)),
        None => of.kind.clone(),
    };
    [
        rfc3339(of.at_unix_ms),
        kind,
        of.amount_micro.0.to_string(),
        table::cell_of(&of.debit),
        table::cell_of(&of.credit),
        receipts.join(" "),
        table::cell_of(&of.reason),
    ]
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_account_and_what_moved_it_are_read_at_a_glance() {
        let list = StakeList {
            accounts: vec![StakeAccount {
                account: "operator/host".to_owned(),
                credits_micro: U64(1_000),
                debits_micro: U64(100),
                held_micro: U64(90),
            }],
            transfers: vec![StakeTransfer {
                id: "slash/n/7/cpu/3".to_owned(),
                kind: "pending".to_owned(),
                debit: "operator/host".to_owned(),
                credit: "slashed".to_owned(),
                amount_micro: U64(90),
                receipts: vec![3, 4],
                reason: "all checkers say that the node failed round 7".to_owned(),
                at_unix_ms: 1_800_000_000_000,
                until_unix_ms: Some(1_800_604_800_000),
            }],
        };
        let said = lines(&list);
        for words in ["810", "pending until 2027-01-22", "3 4", "failed round 7"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}
