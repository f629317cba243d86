-- What a claim's node was measured to do when the claim began, thousandths of its class, and where the receipt of that
-- stands. NULL where nothing was.
ALTER TABLE usage_interval ADD COLUMN score_permille BIGINT;
ALTER TABLE usage_interval ADD COLUMN score_receipt BIGINT;
