-- Evidence is found by its hash alone. Nobody has asked by the end of its time since there is a log, and every piece
-- that a receipt named was an entry more to write.
DROP INDEX evidence_by_end;
