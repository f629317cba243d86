-- Which process wrote the row `writer` last: a word that each makes up when it starts. A term is a number, and a
-- ledger that went back behind the start of a broker gives the same one twice.
ALTER TABLE writer ADD COLUMN run TEXT NOT NULL DEFAULT '';
