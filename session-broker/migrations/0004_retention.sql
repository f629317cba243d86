-- Ended sessions are swept with what belongs to them.
CREATE INDEX claim_by_session ON claim (session_id);
CREATE INDEX ticket_spend_by_session ON ticket_spend (session_id);
