//! `nearlight node`.

use super::{CommandError, show, tell};
use crate::cli::{Broker, NodeCommand, TokenCommand};
use crate::client::Client;
use crate::join::join;
use crate::{dispute, node_list, node_show, node_status, terminal};
use nearlight_protocol::api::{CreateJoinToken, DrainNode, NewJoinToken};
use nearlight_protocol::id::NodeId;

/// Lists nodes, lets them in, drains them and shuts them out.
pub fn node(command: &NodeCommand, broker: &Broker) -> Result<(), CommandError> {
    match command {
        NodeCommand::Join { force } => join(broker, *force)?,
        NodeCommand::Token { command } => create_token(broker, command)?,
        NodeCommand::Drain {
            node,
            reclaim,
            reason,
        } => drain(broker, node, *reclaim, reason)?,
        NodeCommand::Undrain { node } => {
            Client::new(broker)?.delete(&format!("/v1/nodes/{node}/drain"))?;
            tell(broker, format_args!("{node} takes sessions again"));
        }
        NodeCommand::Vet { node, off: false } => {
            Client::new(broker)?.order(&format!("/v1/nodes/{node}/vet"))?;
            tell(broker, format_args!("{node} is vetted: jobs go to it"));
        }
        NodeCommand::Vet { node, off: true } => {
            Client::new(broker)?.delete(&format!("/v1/nodes/{node}/vet"))?;
            tell(broker, format_args!("{node} is not vetted any more"));
        }
        NodeCommand::Revoke { node } => {
            Client::new(broker)?.delete(&format!("/v1/nodes/{node}"))?;
            tell(broker, format_args!("{node} is shut out for good"));
        }
        NodeCommand::Dispute {
            receipt,
            reason,
            evidence,
        } => dispute::file(broker, *receipt, reason, evidence)?,
        NodeCommand::Disputed { dispute } => dispute::look(broker, *dispute)?,
        NodeCommand::Status { node } => {
            let own = || node_status::of_this_machine(broker);
            let node = node.clone().or_else(own).ok_or(CommandError::NoNodeHere)?;
            let standing = node_status::ask(&Client::new(broker)?, &node)?;
            show(broker, &standing, || node_status::lines(&standing));
        }
        NodeCommand::Show { node } => {
            let found = node_show::find(&Client::new(broker)?, node)?;
            let found = found.ok_or_else(|| CommandError::NoNode(node.clone()))?;
            show(broker, &found, || node_show::lines(&found));
        }
        NodeCommand::List => node_list::show(broker)?,
    }
    Ok(())
}

fn drain(
    broker: &Broker,
    node: &NodeId,
    reclaim_s: Option<u64>,
    reason: &str,
) -> Result<(), CommandError> {
    let path = format!("/v1/nodes/{node}/drain");
    let client = Client::new(broker)?;
    let Some(in_s) = reclaim_s else {
        client.order(&path)?;
        tell(broker, format_args!("{node} takes no new sessions"));
        return Ok(());
    };
    let wanted = DrainNode {
        reclaim_s: Some(u32::try_from(in_s).unwrap_or(u32::MAX)),
        reason: reason.to_owned(),
    };
    client.order_with(&path, &wanted)?;
    tell(
        broker,
        format_args!("{node} takes no new sessions; what it runs ends in {in_s} s"),
    );
    Ok(())
}

fn create_token(broker: &Broker, command: &TokenCommand) -> Result<(), CommandError> {
    let TokenCommand::Create {
        ttl,
        name,
        region,
        operator,
    } = command;
    let wanted = CreateJoinToken {
        expires_s: Some(*ttl),
        name: name.clone(),
        region: region.clone(),
        operator: operator.clone(),
    };
    let made: NewJoinToken = Client::new(broker)?.post("/v1/join-tokens", &wanted)?;
    if !broker.json {
        let minutes = ttl.div_ceil(60);
        terminal::note(format_args!(
            "run this on the new node within {minutes} min; it works once:"
        ));
    }
    show(broker, &made, || {
        format!("nearlight node join --token {}\n", made.token)
    });
    Ok(())
}
