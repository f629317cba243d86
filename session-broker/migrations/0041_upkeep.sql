-- By what rows are found that are over for long, so that a few go at a time and nobody walks a whole table for them.
CREATE INDEX ticket_spend_by_age ON ticket_spend (spent_ms);
CREATE INDEX watch_link_by_expiry ON watch_link (expires_ms);
CREATE INDEX watch_link_revoked ON watch_link (revoked_ms) WHERE revoked_ms IS NOT NULL;
CREATE INDEX webhook_delivery_done ON webhook_delivery (created_ms) WHERE state <> 'waiting';
-- Deleted volumes of nodes that were shut out later: nobody wipes them, and they counted for their owner for ever.
DELETE FROM volume WHERE deleted_ms IS NOT NULL
    AND node_id IN (SELECT s.node_id FROM node_standing s WHERE s.revoked_ms IS NOT NULL);
