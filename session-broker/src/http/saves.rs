//! Where a player's saves are, before a session is created: it goes on there, or the player is asked first.

use super::Api;
use super::caller::Caller;
use super::problem::{Refusal, store_failed};
use crate::sessions::SaveNode;
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::api::{NodeStatus, SavesWish};
use nearlight_protocol::app::AppSpec;
use nearlight_protocol::id::NodeId;
use nearlight_protocol::problem::ProblemType;

impl Api {
    /// The node that a session has to run on for its player's saves; `None` where any will do.
    ///
    /// # Errors
    /// `save-elsewhere` if that node cannot run it now, and nobody was asked yet.
    pub(super) async fn save_for(
        &self,
        caller: &Caller,
        app: &AppSpec,
        (saves, region): (SavesWish, Option<&str>),
        key: &str,
    ) -> Result<Option<NodeId>, Refusal> {
        if app.saves.is_none() || saves == SavesWish::Without {
            return Ok(None);
        }
        let user = caller.user.clone();
        let found = self.ledger.newest_save(user.clone(), app.id.clone()).await;
        let Some(saved) = found.map_err(|e| store_failed(&e))? else {
            return Ok(None);
        };
        let node = self.sessions.directory().save_node(&saved.node);
        let Some(obstacle) = obstacle(node.as_ref(), region) else {
            return Ok(Some(saved.node));
        };
        if saves == SavesWish::Wait {
            return Ok(Some(saved.node));
        }
        // Asked again with its key: its own session may be what takes the room.
        let known = self.ledger.has_key(user, key.to_owned()).await;
        if known.map_err(|e| store_failed(&e))? {
            return Ok(Some(saved.node));
        }
        Err(ProblemResponse::new(
            ProblemType::SaveElsewhere,
            format!(
                "Your saves are on a node that {obstacle}. Create with `\"saves\":\"wait\"` to wait \
                 for it, or with `\"saves\":\"without\"` to begin on another one; the saves stay."
            ),
        ))
    }
}

/// What keeps the node with the saves from running a session now.
fn obstacle(node: Option<&SaveNode>, region: Option<&str>) -> Option<String> {
    let Some(node) = node else {
        return Some("is not here any more".to_owned());
    };
    let name = &node.name;
    if region.is_some_and(|region| region != node.region) {
        return Some(format!("is in the region {}: {name}", node.region));
    }
    match node.status {
        NodeStatus::Online if node.slots_free > 0 => None,
        NodeStatus::Online => Some(format!("has no room at the moment: {name}")),
        NodeStatus::Draining => Some(format!("takes no sessions at the moment: {name}")),
        NodeStatus::Offline => Some(format!("is offline: {name}")),
        NodeStatus::Revoked => Some(format!("is shut out for good: {name}")),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_node_that_has_room_in_the_region_is_no_obstacle() {
        let node = |status, slots_free| SaveNode {
            name: "attic".to_owned(),
            region: "fra".to_owned(),
            status,
            slots_free,
        };
        let online = node(NodeStatus::Online, 1);
        assert_eq!(obstacle(Some(&online), None), None);
        assert_eq!(obstacle(Some(&online), Some("fra")), None);
        let of = |node: &SaveNode, region| obstacle(Some(node), region).unwrap();
        assert_eq!(of(&online, Some("sin")), "is in the region fra: attic");
        assert!(of(&node(NodeStatus::Online, 0), None).contains("no room"));
        assert!(of(&node(NodeStatus::Draining, 1), None).contains("takes no sessions"));
        assert!(of(&node(NodeStatus::Offline, 1), None).contains("offline"));
        assert!(of(&node(NodeStatus::Revoked, 1), None).contains("for good"));
        assert!(obstacle(None, None).is_some());
    }
}
