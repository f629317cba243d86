#!/usr/bin/env python3
"""A second verifier of receipts, after docs/receipts.md, docs/proof.md and the formulas of core/proof.

    verify.py receipt ENVELOPE PROOF --policy P --directory D --authority HEX [--later ENVELOPE PROOF]...
    verify.py vectors FILE...
    verify.py questions < LINES
    verify.py beacon ROUND SIGNATURE
    verify.py round GENESIS_MS ROUND_MS ROUND SIGNATURE

It needs Python 3.9 and the package cryptography, and shares no code with the first. `receipt` prints
the outcome and exits with its code: 0 VALID, 7 MALFORMED, 3 UNKNOWN-KEY, 4 FORGED, 5 NOT-LOGGED,
6 NOT-WITNESSED, 10 DISPUTED, 11 REVOKED. `vectors` checks what the vector files say. `questions`
prints an outcome for each line, which asks as a page asks the first verifier (verifier/src/page.rs).
`beacon` prints the value of a round of drand's quicknet, or exits with 4 if the signature is not its;
that takes the package py_ecc, too. `round` does the same of a network's round that takes its value from
quicknet, with the times of the anchor in the log, and says which round of quicknet that is. It does not verify that a predicate's body has each member that its
kind asks for; the first verifier does.
"""
import base64
import hashlib
import json
import struct
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

CODES = {"VALID": 0, "MALFORMED": 7, "UNKNOWN-KEY": 3, "FORGED": 4, "NOT-LOGGED": 5,
         "NOT-WITNESSED": 6, "DISPUTED": 10, "REVOKED": 11}
ORDER = 2**252 + 27742317777372353535851937790883648493
PRIME = 2**255 - 19
MASK = 0xFFFFFFFF


class Refused(Exception):
    """An outcome that is not VALID."""


def need(holds, outcome):
    if not holds:
        raise Refused(outcome)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def unbase64(text):
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError("another spelling of base64")
    return raw


def signed(public, message, signature):
    """Strict Ed25519: the scalar is reduced, points are canonical and not of small order."""
    if len(signature) != 64 or int.from_bytes(signature[32:], "little") >= ORDER:
        return False
    small = {0, 1, PRIME - 1, 2707385501144840649318225287225658788936804267575313519463743609750303021022,
             55188659117513257062467267217118295137698188065244968500265048394206261417927}
    for point in (public, signature[:32]):
        y = int.from_bytes(point, "little") & (2**255 - 1)
        if y >= PRIME or y in small:
            return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        return True
    except (InvalidSignature, ValueError):
        return False


# RFC 8785 -----------------------------------------------------------------------------------------

def number(value):
    if isinstance(value, int) and abs(value) < 2**53:
        return str(value)
    value = float(value)
    if value == 0:
        return "0"
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0)
    if whole.strip("0") == "":
        point = int(exponent or 0) - (len(fraction) - len(fraction.lstrip("0")))
    digits = digits.rstrip("0") or "0"
    count, sign = len(digits), "-" if value < 0 else ""
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    tail = "." + digits[1:] if count > 1 else ""
    return sign + digits[0] + tail + "e" + ("+" if point > 0 else "-") + str(abs(point - 1))


def string(text):
    return json.dumps(text, ensure_ascii=False)


def canonical(value):
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, str):
        return string(value)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    members = sorted(value.items(), key=lambda m: m[0].encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join(string(k) + ":" + canonical(v) for k, v in members) + "}"


def integers_only(value):
    if isinstance(value, float):
        return False
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 2**53
    if isinstance(value, list):
        return all(map(integers_only, value))
    return all(map(integers_only, value.values())) if isinstance(value, dict) else True


def depth_within(value, levels):
    if isinstance(value, (list, dict)):
        inner = value.values() if isinstance(value, dict) else value
        return levels > 0 and all(depth_within(v, levels - 1) for v in inner)
    return True


def document(raw):
    try:
        value = json.loads(raw.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not depth_within(value, 32):
        raise ValueError("nested too deep")
    if canonical(value).encode() != raw or not integers_only(value):
        raise ValueError("not in the one form")
    return value


# Logs ---------------------------------------------------------------------------------------------

def leaf(entry):
    return sha256(b"\x00", entry)


def log_parent(left, right):
    return sha256(b"\x01", left, right)


def root_from(parent, index, size, node, path):
    """RFC 9162, section 2.1.3.2; None if the path has the wrong length."""
    if index >= size:
        return None
    last = size - 1
    for sibling in path:
        if last == 0:
            return None
        if index & 1 or index == last:
            node = parent(sibling, node)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            node = parent(node, sibling)
        index, last = index >> 1, last >> 1
    return node if last == 0 else None


def tree_root(parent, leaves):
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return parent(tree_root(parent, leaves[:split]), tree_root(parent, leaves[split:]))


def key_id(name, material):
    return sha256(name.encode(), b"\n", material)[:4]


def vkey(text):
    name, short, material = text.split("+", 2)
    material = unbase64(material)
    if len(material) != 33 or short != key_id(name, material).hex():
        raise ValueError("not a key")
    return name, material


def note(text):
    if any(ord(c) < 32 and c != "\n" for c in text):
        raise ValueError("control characters")
    body, lines = text[:text.rindex("\n\n") + 1], text[text.rindex("\n\n") + 2:]
    if not lines.endswith("\n"):
        raise ValueError("no newline at the end")
    signatures = []
    for line in lines[:-1].split("\n"):
        dash, name, encoded = line.split(" ")
        raw = unbase64(encoded)
        if dash != "\u2014" or not name or "+" in name or len(raw) < 5:
            raise ValueError("not a signature line")
        signatures.append((name, raw[:4], raw[4:]))
    return body, signatures


def lines_of(name, material, signatures):
    return [s for n, i, s in signatures if n == name and i == key_id(name, material)]


def cosigned(body, signature, public):
    time = int.from_bytes(signature[:8], "big")
    return signed(public, f"cosignature/v1\ntime {time}\n{body}".encode(), signature[8:])


def policy(text):
    logs, witnesses, groups, quorum = [], {}, {}, None
    for line in text.split("\n"):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        if fields[0] == "log":
            logs.append(vkey(fields[1]))
        elif fields[0] == "witness":
            witnesses[fields[1]] = vkey(fields[2])
        elif fields[0] == "group":
            many = {"any": 1, "all": len(fields) - 3}.get(fields[2]) or int(fields[2])
            groups[fields[1]] = (many, fields[3:])
        elif fields[0] == "quorum":
            quorum = fields[1]
        else:
            raise ValueError("not a policy")
    return logs, witnesses, groups, quorum


def agrees(name, groups, seen):
    if name == "none" or name in seen:
        return True
    if name not in groups:
        return False
    many, members = groups[name]
    return sum(agrees(member, groups, seen) for member in members) >= many


def decimal(text):
    if not text.isascii() or not text.isdigit() or (text[0] == "0" and text != "0"):
        raise ValueError("not a number")
    return int(text)


def check_log(entry, proof, rules):
    """The times at which witnesses saw the entry in a log of the policy."""
    try:
        head, checkpoint = proof.decode("utf-8").split("\n\n", 1)
        lines = head.split("\n")
        need(lines[0] == "c2sp.org/tlog-proof@v1" and lines[1].startswith("index "), "MALFORMED")
        index, path = decimal(lines[1][6:]), [unbase64(line) for line in lines[2:]]
        need(all(len(h) == 32 for h in path) and len(path) <= 64, "MALFORMED")
        body, signatures = note(checkpoint)
    except ValueError:
        raise Refused("MALFORMED")
    logs, witnesses, groups, quorum = rules
    known = [(name, m) for name, m in logs if lines_of(name, m, signatures)]
    need(len(known) == 1, "NOT-LOGGED")
    (name, material), = known
    need(all(signed(material[1:], body.encode(), s) for s in lines_of(name, material, signatures)),
         "NOT-LOGGED")
    try:
        origin, size, root, end = body.split("\n")
        size, root = decimal(size), unbase64(root)
    except ValueError:
        raise Refused("NOT-LOGGED")
    need(origin == name and end == "" and len(root) == 32, "NOT-LOGGED")
    seen = {}
    for witness, (who, material) in witnesses.items():
        for signature in lines_of(who, material, signatures):
            need(cosigned(body, signature, material[1:]), "FORGED")
            seen[witness] = int.from_bytes(signature[:8], "big")
    need(agrees(quorum, groups, seen), "NOT-WITNESSED")
    need(root_from(log_parent, index, size, leaf(entry), path) == root, "NOT-LOGGED")
    return list(seen.values())


# Receipts -----------------------------------------------------------------------------------------

def envelope(raw):
    """Payload type, payload, signatures as (key id, signature)."""
    value = document(raw)
    signatures = [(s["keyid"], unbase64(s["sig"])) for s in value["signatures"]]
    again = {"payload": value["payload"], "payloadType": value["payloadType"],
             "signatures": [{"keyid": s["keyid"], "sig": s["sig"]} for s in value["signatures"]]}
    if again != value or not 1 <= len(signatures) <= 2 or len(raw) > 65535:
        raise ValueError("other members")
    return value["payloadType"], unbase64(value["payload"]), signatures


def pae(kind, payload):
    return f"DSSEv1 {len(kind.encode())} {kind} {len(payload)} ".encode() + payload


def signed_payload(raw, kind, authority):
    found, payload, signatures = envelope(raw)
    (who, signature), = signatures
    if found != f"application/vnd.nearlight.{kind}+json" or who != sha256(authority).hex() \
            or not signed(authority, pae(found, payload), signature):
        raise ValueError("the directory is not signed by its key")
    return document(payload)


def directory(raw, authority):
    """The keys of a directory; one with many has pages behind it, a line each, which it names."""
    first, *pages = raw.split(b"\n")
    if not pages:
        return signed_payload(first, "directory.v1", authority)["keys"]
    named = signed_payload(first, "directory.v2", authority)["pages"]
    if named != [sha256(page).hex() for page in pages] or len(pages) > 128:
        raise ValueError("the directory names other pages")
    return [key for page in pages for key in signed_payload(page, "directory-page.v1", authority)["keys"]]


ISSUERS = {"porc/v1": ["checker"], "porw/v1": ["checker"], "session/v1": ["broker"],
           "verdict/v1": ["referee", "broker"], "revoke/v1": ["referee", "broker", "checker"],
           "dispute/v1": ["node", "checker", "broker"]}


def find(keys, who, roles, time):
    for role in roles:
        for key in keys:
            if key["role"] == role and sha256(bytes.fromhex(key["key"])).hex() == who:
                counts = key["from_s"] <= time < key["until_s"] and \
                    (key["revoked_at_s"] is None or time < key["revoked_at_s"])
                need(counts, "UNKNOWN-KEY")
                return bytes.fromhex(key["key"]), role
    raise Refused("UNKNOWN-KEY")


QUALITY = {"seconds", "frames", "fps_milli", "pace_us", "freezes", "size", "encode_us", "input_us",
           "rtt_us", "encoder"}
PLAIN = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-+/")


def is_quality(q):
    return set(q) == QUALITY and q["seconds"] <= 31 * 24 * 3600 and max(q["size"]) <= 16384 \
        and q["frames"] <= (q["seconds"] + 1) * 1000 and len(q["encoder"]) <= 64 and set(q["encoder"]) <= PLAIN


def is_sample(s):
    if set(s) != {"quality", "key", "signature"} or not is_quality(s["quality"]):
        return False
    message = b"nearlight player sample v1\n" + canonical(s["quality"]).encode()
    return s["key"] == s["signature"] == "" or \
        set(s["key"] + s["signature"]) <= set("0123456789abcdef") and signed(bytes.fromhex(s["key"]), message, bytes.fromhex(s["signature"]))


def rate_of(parts):
    """Frames a second of all pages together, thousandths, by the time that each one's rate is of."""
    if len(parts) == 1:
        return parts[0]["fps_milli"]
    times_us = (part["frames"] * 10**9 // part["fps_milli"] if part["fps_milli"] else part["seconds"] * 10**6
                for part in parts)
    return min(sum(part["frames"] for part in parts) * 10**9 // max(sum(times_us), 1), 2**32 - 1)


def rate_by_seconds(parts):
    """The same by whole seconds, as receipts had it before rates were exact."""
    return sum(part["frames"] for part in parts) * 1000 // max(sum(part["seconds"] for part in parts), 1)


def differences(edge, parts, rule):
    """In what the pages together differ from the node by more than the tolerance."""
    if not parts:
        return []
    seconds, rate = sum(part["seconds"] for part in parts), rule(parts)
    longest = max(reversed(parts), key=lambda part: part["seconds"])
    size = parts[-1]["size"]
    here, there = edge["rtt_us"][0], longest["rtt_us"][0]
    found = [
        (abs(edge["fps_milli"] - rate) > edge["fps_milli"] // 10 + 2000, "frame-rate"),
        (here and there and abs(here - there) > max(here, there) // 2 + 10000, "round-trip"),
        (seconds > edge["seconds"] + edge["seconds"] // 20 + 5 or seconds + 5 < edge["seconds"] // 2, "seconds"),
        (edge["size"][0] and size[0] and edge["size"] != size, "size"),
    ]
    return [name for differs, name in found if differs]


def is_session(body):
    """Whether it says what follows from its columns."""
    parts = [sample["quality"] for sample in body["player"]]
    follows = []
    for rule in (rate_of, rate_by_seconds):
        differs = differences(body["edge"], parts, rule)
        follows.append((differs, "edge-only" if not parts else "disagree" if differs else "agree"))
    return body["started_at_s"] <= body["stopped_at_s"] and len(parts) <= 8 and is_quality(body["edge"]) \
        and all(map(is_sample, body["player"])) and (body["differs"], body["agreement"]) in follows


def check(raw, proof, rules, keys):
    """Everything but the standing: subject, head, kind, body and the issuer's role."""
    try:
        kind, payload, signatures = envelope(raw)
        value = document(payload)
        head, body = value["predicate"]["head"], value["predicate"]["body"]
        (subject,) = value["subject"]
        need(kind == "application/vnd.in-toto+json", "MALFORMED")
        need(value["_type"] == "https://in-toto.io/Statement/v1", "MALFORMED")
        what = value["predicateType"]
        need(what.startswith("https://nearlight.dev/"), "MALFORMED")
        what = what[len("https://nearlight.dev/"):]
        need(what in ISSUERS, "MALFORMED")
        need(what != "session/v1" or is_session(body), "MALFORMED")
        need(set(head) == {"issuer", "issued_at_s", "countersign", "assurance", "does_not_prove",
                           "evidence"}, "MALFORMED")
        time, target = head["issued_at_s"], subject["digest"]["sha256"]
    except (ValueError, KeyError, TypeError):
        raise Refused("MALFORMED")
    public, role = find(keys, head["issuer"], ISSUERS[what], time)
    message = pae(kind, payload)
    need(signatures[0][0] == head["issuer"] and signed(public, message, signatures[0][1]), "FORGED")
    node = head["countersign"].get("node") if isinstance(head["countersign"], dict) else None
    need(len(signatures) == (2 if node else 1), "FORGED")
    if node:
        public, _ = find(keys, node, ["node"], time)
        need(signatures[1][0] == node and signed(public, message, signatures[1][1]), "FORGED")
    times = check_log(raw, proof, rules)
    need(all(seen + 300 >= time for seen in times), "FORGED")
    return target, head, what, body, role


def verify(raw, proof, rules, keys, later):
    try:
        about, head, kind, _, _ = check(raw, proof, rules, keys)
    except Refused as refused:
        return str(refused)
    entries = []
    for entry, its_proof in later:
        try:
            entries.append((leaf(entry).hex(), *check(entry, its_proof, rules, keys)))
        except Refused:
            pass
    mine, outcome = leaf(raw).hex(), "VALID"
    for at, target, other, what, body, role in entries:
        if what == "revoke/v1":
            may = role in ("referee", "broker") or other["issuer"] == head["issuer"]
            key = target == head["issuer"] and head["issued_at_s"] >= body["from_s"]
            if may and (target == mine or key):
                return "REVOKED"
        elif what == "dispute/v1" and target == mine:
            concerns = other["issuer"] in (about, head["issuer"]) or role == "broker"
            if kind != "porc/v1" or not concerns:
                continue
            ends = [b for _, _, _, w, b, r in entries
                    if w == "verdict/v1" and r == "referee" and b["dispute"] == at]
            if ends and head["issuer"] in ends[0]["liars"]:
                return "REVOKED"
            if not ends and other["issued_at_s"] <= head["issued_at_s"] + 30 * 86400:
                outcome = "DISPUTED"
    return outcome


# BLAKE3 -------------------------------------------------------------------------------------------

IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
ORDER_OF_WORDS = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
QUARTERS = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
            (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]


def turn(word, by):
    return (word >> by | word << 32 - by) & MASK


def compress(chaining, block, counter, length, flags):
    s = chaining + IV[:4] + [counter & MASK, counter >> 32, length, flags]
    m = list(struct.unpack("<16I", block.ljust(64, b"\0")))
    for _ in range(7):
        for n, (a, b, c, d) in enumerate(QUARTERS):
            for word, first, second in ((m[2 * n], 16, 12), (m[2 * n + 1], 8, 7)):
                s[a] = s[a] + s[b] + word & MASK
                s[d] = turn(s[d] ^ s[a], first)
                s[c] = s[c] + s[d] & MASK
                s[b] = turn(s[b] ^ s[c], second)
        m = [m[i] for i in ORDER_OF_WORDS]
    return [x ^ y for x, y in zip(s[:8], s[8:])]


def blake3(data):
    def node(lo, hi, root):
        if hi - lo <= 1:
            chunk, chaining = data[lo * 1024:lo * 1024 + 1024], IV
            blocks = [chunk[i:i + 64] for i in range(0, len(chunk), 64)] or [b""]
            for n, block in enumerate(blocks):
                last = n + 1 == len(blocks)
                flags = (n == 0) | last << 1 | (last and root) << 3
                chaining = compress(chaining, block, lo, len(block), flags)
            return chaining
        middle = lo + (1 << (hi - lo - 1).bit_length() - 1)
        words = node(lo, middle, False) + node(middle, hi, False)
        return compress(IV, struct.pack("<16I", *words), 0, 64, 4 | root << 3)
    return struct.pack("<8I", *node(0, max(1, -(-len(data) // 1024)), True))


# Proof of render capacity -------------------------------------------------------------------------

P = 2**31 - 1


def mix(x):
    x = (x ^ x >> 16) * 0x7FEB352D & MASK
    x = (x ^ x >> 15) * 0x846CA68B & MASK
    return x ^ x >> 16


def labelled(label, *parts):
    return blake3(b"".join(struct.pack("<I", len(p)) + p for p in (label.encode(), *parts)))


def words(raw):
    return struct.unpack("<8I", raw)


def digest(values):
    return blake3(struct.pack(f"<{len(values)}I", *values))


def commit_parent(left, right):
    return blake3(b"\x01" + left + right)


def factor(label, seed, size):
    s = words(labelled(label, seed))
    rows = [mix(mix(i ^ s[0]) + s[1] & MASK) for i in range(size)]
    columns = [mix(mix(j ^ s[2]) + s[3] & MASK) for j in range(size)]
    return [[(mix(r ^ c) & P) % P for c in columns] for r in rows]


def fill_block(seed, index):
    s = words(labelled("porc/v2 fill", seed))
    key = mix(mix(index ^ s[0]) + s[1] & MASK)
    block, word = [], key
    for j in range(16384):
        word = mix(word ^ s[j & 7]) + key & MASK
        block.append(word)
    forth = range(16384)
    back = forth[::-1]
    for j in (*back, *forth, *back):
        old, a, b = block[j], block[word % 16384], block[word >> 18]
        word = mix(word ^ old ^ turn(a, 25) ^ turn(b, 19)) + old + a + b & MASK
        block[j] = word
    return block


def lane_values(seed, secret, lane, reads, blocks):
    k = words(labelled("porc/v1 read", seed, secret))
    value, kept = mix(mix(lane ^ k[0]) + k[1] & MASK), []
    for n in range(reads):
        found = blocks[mix(value ^ k[2]) * len(blocks) >> 32][value % 16384]
        value = mix(value ^ found ^ k[n & 7]) + n & MASK
        if (n + 1) % 1000 == 0 or n + 1 == reads:
            kept.append(value)
    return kept


def tile(frame_key, index, steps):
    s = words(frame_key)
    spheres = []
    for n in range(4):
        drawn = [mix(s[n] ^ mix(axis * 4 + n)) for axis in range(4)]
        spheres.append([(d & 4095) - 2048 for d in drawn[:3]] + [(1024 + (drawn[3] & 1023)) ** 2])
    tile_key, pixels = mix(index ^ s[7]), []
    for pixel in range(4096):
        drift = mix(tile_key ^ mix(pixel))
        at = [((pixel & 63) - 32) * 64, ((pixel >> 6) - 32) * 64, -4096]
        speed, colour = [(drift & 31) - 16, (drift >> 5 & 31) - 16, 64], drift
        for _ in range(steps):
            for sphere in spheres:
                away = [sphere[axis] - at[axis] for axis in range(3)]
                depth = sphere[3] - sum(d * d for d in away)
                if depth >= 0:
                    speed = [v + (d >> 6) for v, d in zip(speed, away)]
                    colour = colour + (depth >> 8) & MASK
            speed = [max(-127, min(127, v)) for v in speed]
            at = [((p + v + 4096) & 8191) - 4096 for p, v in zip(at, speed)]
            x, y, z = (p & MASK for p in at)
            colour = (colour * 0x9E3779B1 & MASK) ^ x ^ turn(y, 21) ^ turn(z, 10)
        pixels.append(mix(colour))
    return pixels


def draw(open_key, what, limit, count):
    drawn, n = set(), 0
    if limit <= count:
        return list(range(limit))
    while len(drawn) < count:
        raw = labelled("porc/v1 draw", open_key, what.encode(), struct.pack("<Q", n))
        drawn.add(int.from_bytes(raw[:8], "little") * limit >> 64)
        n += 1
    return sorted(drawn)


# Vectors ------------------------------------------------------------------------------------------

def golden(vectors, same):
    receipts = vectors["receipts"]
    rules = policy(receipts["policy"])
    keys = directory(receipts["directory"].encode(), bytes.fromhex(receipts["authority"]))
    for case in receipts["cases"]:
        later = [(a.encode(), b.encode()) for a, b in case["later"]]
        raw, proof = case["envelope"].encode(), case["proof"].encode()
        outcome = verify(raw, proof, rules, keys, later)
        same("receipt: " + case["name"], (outcome, CODES[outcome]), (case["outcome"], case["exit_code"]))
        if case["name"] == "right in everything":
            for place in range(len(raw)):
                other = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1:]
                same(f"byte {place} flipped", verify(other, proof, rules, keys, []) != "VALID", True)
    chain = vectors["beacon_chain"]
    value, seen = bytes.fromhex(chain["secret"]), {}
    for n in range(chain["length"], -1, -1):
        seen[n] = value.hex()
        value = blake3(b"nearlight beacon chain/v1" + value)
    same("beacon chain", (seen[0], seen[20]), (chain["anchor"], chain["round_20"]))
    golden_porc(vectors["porc"], same)
    golden_rounds(vectors["rounds"], same)
    golden_pages(vectors["directory_pages"], same)
    golden_due(vectors["due"], same)


def golden_pages(pages, same):
    authority = bytes.fromhex(pages["authority"])
    for case in pages["cases"]:
        try:
            keys = len(directory(case["directory"].encode(), authority))
        except ValueError:
            keys = None
        same("directory: " + case["name"], keys, case["keys"])


def of_set(key, began_s):
    """Whether a key of the directory is of the set of a round that began then."""
    revoked = key["revoked_at_s"]
    return key["from_s"] + 60 < began_s <= key["until_s"] and (revoked is None or began_s <= revoked)


def weighing(reports, committee):
    """The reports that weigh: of those with a seat and something certain the first by their seats."""
    certain = {r["checker"]: r["seat"] for r in reports
               if r["seat"] is not None and r["finding"] != "inconclusive"}
    seats = sorted(certain.values())
    last = seats[committee - 1] if len(seats) >= committee else float("inf")
    return [r for r in reports if r["seat"] is not None and r["seat"] <= last]


def comes_to(reports, committee):
    """What a round's reports come to, and the score that counts."""
    first = {}
    for report in weighing(reports, committee):
        if report["finding"] != "inconclusive":
            first.setdefault(report["checker"], report)
    found = {r["finding"] for r in first.values()}
    if len(found) == 2:
        return "split", None
    if len(first) < committee:
        return "open", None
    if found == {"pass"}:
        return "passed", min(r["score_permille"] for r in first.values())
    return "failed", 0


def is_there(node_from_s, began_s):
    """Whether a node's key was there before a round began."""
    return node_from_s + 300 < began_s


def is_in_time(issued_at_s, told_s, began_s, capacity_s):
    """Whether a check of a round was said in its time, by its own word and by what stands before it in the log."""
    ends_s = began_s + 3 * capacity_s + 300
    return began_s - 300 <= issued_at_s <= ends_s and told_s <= ends_s


def is_first(node_from_s, others_from_s, committee, began_s, round_s):
    """Whether a round is one of the first that a node could be checked in: until then there was no key, or no committee."""
    joined = sorted(from_s + 60 for from_s in others_from_s)
    if committee < 1 or len(joined) < committee:
        return False
    since_s = max(joined[committee - 1], node_from_s + 300)
    return since_s < began_s <= since_s + max(600, 2 * round_s)


def is_due(number, value, operator, a_day):
    """Whether a check of an operator's nodes is due in a round: once a day, and drawn twice a day on average."""
    group = int.from_bytes(labelled("porc/v1 group", operator)[:8], "little")
    lots = int.from_bytes(labelled("porc/v1 drawn", value, operator)[:8], "little")
    return number % a_day == group % a_day or lots % max(a_day // 2, 1) == 0


def golden_rounds(rounds, same):
    for n, case in enumerate(rounds["times"]):
        same(f"time {n} of a round", (is_there(case["node_from_s"], case["began_s"]),
                                      is_in_time(case["issued_at_s"], case["told_s"], case["began_s"], case["capacity_s"])),
             (case["is_there"], case["is_in_time"]))
    for n, case in enumerate(rounds["firsts"]):
        same(f"first rounds {n}", is_first(case["node_from_s"], case["others_from_s"], rounds["committee"], case["began_s"],
                                           case["round_s"]), case["is_first"])
    due, days = rounds["due"], range(rounds["due"]["a_day"])
    values = [labelled("golden", struct.pack("<Q", n)) for n in days]
    same("rounds of a day that are due", [n for n in days if is_due(n, values[n], due["operator"].encode(), due["a_day"])],
         due["rounds"])
    for key in rounds["sets"]:
        same(f"set at {key['began_s']}", of_set(key, key["began_s"]), key["is_of_set"])
    for case in rounds["verdicts"]:
        reports = case["reports"]
        same(f"round: {case['name']}", [r["checker"] for r in weighing(reports, rounds["committee"])], case["weigh"])
        same(f"round comes to: {case['name']}", comes_to(reports, rounds["committee"]),
             (case["comes_to"], case["score_permille"]))


def order_of(value, node, operator, checkers):
    """Who may check a node in a round, first the one that goes first; never the node's own operator."""
    pairs = {(bytes.fromhex(c["key_id"]), c["operator"]) for c in checkers}
    leaves = [labelled("porc/v1 checker", key, name.encode()) for key, name in sorted(pairs)]
    root = tree_root(commit_parent, leaves)
    ranked = sorted((labelled("porc/v1 committee", value, node, root, key), key) for key, name in pairs if name != operator)
    return [key.hex() for _, key in ranked]


def drawn(value, node, a_day):
    """Whether the round's value draws a node's stream: twice a day on average."""
    return int.from_bytes(labelled("porw/v1 drawn", value, node)[:8], "little") % max(a_day // 2, 1) == 0


def players(order, checkers, began_ms):
    """Those of an order that could play a stream, as they had told before the round began."""
    since = {c["key_id"]: c["plays_since_s"] for c in checkers}
    return [key for key in order if since.get(key) is not None and (since[key] + 1) * 1000 < began_ms]


def stream_is_wrong(rows, order, able, stand_ins):
    """What of the assignments of a round's stream does not follow: one plays, the first that could, and others stand in."""
    places = {key: place for place, key in enumerate(order)}
    found = [["misplaced", r["checker"]] for r in rows if places.get(r["checker"]) != r["place"]]
    before = min((r["place"] for r in rows), default=0)
    found += [["passed-over", key] for key in order[:before] if key in able]
    missed = sum(r["state"] == "missed" for r in rows)
    return found + ([["stand-ins", None]] if len(rows) - 1 > min(missed, stand_ins) else [])


def moments(meeting, node, began_ms, stand_ins):
    """The cell of a node of a group that meets, and when the checkers of its committee tell it their nonces."""
    cells = max(-(-meeting["probes"] // 128), 1)
    cell = int.from_bytes(labelled("porc/v1 cell", bytes.fromhex(meeting["value"]), node)[:8], "little") % cells
    part = meeting["window_ms"] // (meeting["committee"] * cells + stand_ins)
    return cells, cell, [began_ms + min(30000, part // 2) + (place * cells + cell) * part
                         for place in range(meeting["committee"])] + [None]


def golden_due(due, same):
    began, node, stand_ins, checkers = due["began_ms"], bytes.fromhex(due["node"]), due["stand_ins"], due["checkers"]
    days = range(3 * due["a_day"])
    values = (labelled("golden", struct.pack("<Q", n)) for n in days)
    same("streams drawn in three days", [n for n, v in zip(days, values) if drawn(v, node, due["a_day"])], due["drawn"])
    for case in due["streams"]:
        value = bytes.fromhex(case["value"])
        order = order_of(value, node, due["operator"], checkers)
        asked = players(order, checkers, began)[:1 + stand_ins]
        same(f"stream of round {case['round']}", (case["renders"] or drawn(value, node, due["a_day"]), order, asked),
             (case["due"], case["order"], case["asked"]))
    order = order_of(bytes.fromhex(due["told"]["value"]), node, due["operator"], checkers)
    able = players(order, checkers, began)
    for case in due["told"]["cases"]:
        same(f"stream told: {case['name']}", stream_is_wrong(case["rows"], order, able, stand_ins), case["wrong"])
    for meeting in due["meetings"]:
        for one in meeting["nodes"]:
            same(f"meeting of {meeting['probes']}", moments(meeting, bytes.fromhex(one["node"]), began, stand_ins),
                 (meeting["cells"], one["cell"], one["moments_ms"]))


def golden_porc(porc, same):
    one, two, three, four, five = (bytes([n]) * 32 for n in range(1, 6))
    sizes = porc["sizes"]
    same("mix", [[a, mix(a)] for a, _ in porc["mix"]], porc["mix"])
    same("hash", labelled("a label", b"one", b"").hex(), porc["hash"])
    same("secrets", [labelled("porc/v1 secret", s).hex() for s in (one, two, three)],
         porc["secret_commitments"])
    seed = labelled("porc/v1", four, five, b"GPU-0000", b"probe-1", one)
    same("seed", seed.hex(), porc["seed"])
    a, b = (factor(f"porc/v1 {n}", seed, sizes["rows"]) for n in "ab")
    c = [[sum(x * b[k][j] for k, x in enumerate(row)) % P for j in range(len(b))] for row in a]
    same("matrix", c, porc["matrix"])
    blocks = [fill_block(seed, n) for n in range(sizes["blocks"])]
    same("block", blocks[0][:8], porc["block_0_begins"])
    refused = porc["refused"]
    same("block of the first edition", blocks[0][:8] == refused["block_0_begins"], False)
    same("root of the first edition", tree_root(commit_parent, [digest(b) for b in blocks]).hex() == refused["fill_root"], False)
    kept = [lane_values(seed, two, n, sizes["reads"], blocks) for n in range(sizes["lanes"])]
    same("reads", kept, porc["kept"])
    roots, before = [], bytes(32)
    for frame in range(sizes["frames"]):
        key = labelled("porc/v1 frame", seed, struct.pack("<I", frame), before)
        tiles = [digest(tile(key, n, sizes["steps"])) for n in range(sizes["tiles"])]
        before = tree_root(commit_parent, tiles)
        roots.append(before)
    same("frames", [r.hex() for r in roots], porc["frame_roots"])
    commitment = [tree_root(commit_parent, [digest(v) for v in many]) for many in (c, blocks, kept)]
    commitment.append(tree_root(commit_parent, roots))
    same("commitment", [r.hex() for r in commitment], porc["commitment"])
    open_key = labelled("porc/v1 open", three, *commitment)
    same("open key", open_key.hex(), porc["open_key"])
    same("draw", draw(open_key, "rows", 1000, 5), porc["draw_rows_5_of_1000"])
    checkers = [(bytes([n]) * 32, f"op{n % 3}") for n in range(8)]
    root = tree_root(commit_parent, [labelled("porc/v1 checker", k, o.encode()) for k, o in checkers])
    ranked = sorted((labelled("porc/v1 committee", four, five, root, k), k.hex())
                    for k, o in checkers if o != "op1")
    group = int.from_bytes(labelled("porc/v1 group", b"host-1")[:8], "little")
    same("committee", {"set_root": root.hex(), "assigned": [k for _, k in ranked[:3]],
                       "due_host_1_every_7": [r for r in range(20) if r % 7 == group % 7]},
         porc["committee"])


# drand's quicknet ---------------------------------------------------------------------------------

QUICKNET = bytes.fromhex(
    "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c"
    "8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb"
    "5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a")
QUICKNET_GENESIS_S, QUICKNET_PERIOD_S = 1692803367, 3
QUICKNET_DOMAIN = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"


def quicknet(round_number, signature):
    """The beacon of a round, from its signature on G1; `None` if it is not quicknet's."""
    try:
        from py_ecc.bls.hash_to_curve import hash_to_G1
        from py_ecc.bls.point_compression import decompress_G1, decompress_G2
        from py_ecc.optimized_bls12_381 import G2, curve_order, is_inf, multiply, pairing
    except ImportError:
        sys.exit("rounds of quicknet take the package py_ecc: pip install py_ecc")
    if len(signature) != 48:
        return None
    try:
        point = decompress_G1(int.from_bytes(signature, "big"))
    except ValueError:
        return None
    if is_inf(point) or not is_inf(multiply(point, curve_order)):
        return None
    key = decompress_G2((int.from_bytes(QUICKNET[:48], "big"), int.from_bytes(QUICKNET[48:], "big")))
    message = sha256(round_number.to_bytes(8, "big"))
    hashed = hash_to_G1(message, QUICKNET_DOMAIN, hashlib.sha256)
    return sha256(signature) if pairing(G2, point) == pairing(key, hashed) else None


def quicknet_round(genesis_ms, round_ms, number):
    """The round of quicknet that a network's round takes its value from: the first that is due then or later."""
    begins_ms = genesis_ms + (number - 1) * round_ms
    since_s = max(0, -(-begins_ms // 1000) - QUICKNET_GENESIS_S)
    return -(-since_s // QUICKNET_PERIOD_S) + 1


def rounds_of_quicknet(vectors, same):
    for case in vectors["rounds"]:
        number = quicknet_round(case["genesis_ms"], case["round_ms"], case["round"])
        value = quicknet(number, bytes.fromhex(case["signature"]))
        same("round: " + case["name"], [number, value and value.hex()], [case["drand_round"], case["value"]])
    for case in vectors["cases"]:
        value = quicknet(case["round"], bytes.fromhex(case["signature"]))
        same("quicknet: " + case["name"], value and value.hex(), case["beacon"])


def public(vectors, same):
    for name, vector in vectors["jcs"].items():
        value = json.loads(unbase64(vector["input"]))
        same(f"RFC 8785 {name}", canonical(value).encode(), unbase64(vector["output"]))
    dsse = vectors["dsse"]
    same("DSSE", pae(dsse["type"], dsse["body"].encode()).decode(), dsse["pae"])
    for key, text in [(vectors["note"]["vkey"], vectors["note"]["note"])] + \
            [(vectors["sumdb"]["vkey"], n) for n in vectors["sumdb"]["notes"]]:
        (name, material), (body, signatures) = vkey(key), note(text)
        same("note " + name, [signed(material[1:], body.encode(), s)
                              for s in lines_of(name, material, signatures)], [True])
    oak = vectors["oak"]
    rules = policy(f"log {oak['log']}\nwitness w {oak['witness']}\nquorum w\n")
    same("tlog-proof of oak", len(check_log(oak["entry"].encode(), oak["proof"].encode(), rules)), 1)
    inclusion = oak["inclusion"]
    path = [unbase64(h) for h in inclusion["path"]]
    same("inclusion of oak", root_from(log_parent, inclusion["index"], inclusion["size"],
                                       leaf(inclusion["entry"].encode()), path), unbase64(inclusion["root"]))
    files = vectors["tessera"]["files"]
    for size in range(1, 16):
        tiles = unbase64(files[f"tile/0/000.p/{size}"])
        leaves = [tiles[n:n + 32] for n in range(0, len(tiles), 32)]
        body, signatures = note(unbase64(files[f"checkpoint.{size}"]).decode())
        same(f"tessera {size}", tree_root(log_parent, leaves), unbase64(body.split("\n")[2]))
    for name, (seed, text) in vectors["sunlight"]["cosigned"].items():
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        key = Ed25519PrivateKey.from_private_bytes(sha256(seed.encode())).public_key().public_bytes_raw()
        body, signatures = note(text)
        same("cosigned " + name, [cosigned(body, s, key) for s in
                                  lines_of(name, b"\x04" + key, signatures)], [True])
    sigsum = vectors["sigsum"]
    by_id = {sha256(bytes.fromhex(k)).hex(): bytes.fromhex(k) for k in sigsum["witnesses"].values()}
    root = base64.b64encode(bytes.fromhex(sigsum["root"])).decode()
    body = f"sigsum.org/v1/tree/{sigsum['log']}\n{sigsum['size']}\n{root}\n"
    lines = [line.split() for line in sigsum["cosignatures"]]
    same("sigsum", [cosigned(body, int(t).to_bytes(8, "big") + bytes.fromhex(s), by_id[k])
                    for k, t, s in lines if k in by_id], [True] * 8)


def player_sample(vectors, same):
    """What a page signs of a session."""
    sample = {name: vectors[name] for name in ("quality", "key", "signature")}
    same("a sample's text", canonical(sample["quality"]), vectors["text"])
    same("a sample", is_sample(sample), True)
    for name, other in (("another number", {"quality": {**sample["quality"], "frames": sample["quality"]["frames"] + 1}}),
                        ("another signature", {"signature": sample["signature"][::-1]}),
                        ("no key", {"key": ""})):
        same(f"a sample with {name}", is_sample({**sample, **other}), False)


def answer(asked):
    later = [json.loads(one) for one in asked["later"]]
    keys = directory(asked["directory"].encode(), bytes.fromhex(asked["authority"]))
    return verify(asked["receipt"].encode(), asked["proof"].encode(), policy(asked["policy"]), keys,
                  [(one["envelope"].encode(), one["proof"].encode()) for one in later])


def main(arguments):
    if arguments[:1] == ["vectors"] and len(arguments) > 1:
        counts = [0, 0]

        def same(name, mine, theirs):
            counts[mine != theirs] += 1
            if mine != theirs:
                print(f"{name}: differs: {mine!r} is not {theirs!r}")
        for name in arguments[1:]:
            with open(name, encoding="utf-8") as file:
                vectors = json.load(file)
            if "quicknet" in vectors:
                rounds_of_quicknet(vectors["quicknet"], same)
            elif "quality" in vectors:
                player_sample(vectors, same)
            else:
                (golden if "porc" in vectors else public)(vectors, same)
        print(f"{counts[0]} agree, {counts[1]} differ")
        return 1 if counts[1] else 0
    if arguments == ["questions"]:
        for line in sys.stdin:
            print(answer(json.loads(line)))
        return 0
    if arguments[:1] == ["beacon"] and len(arguments) == 3:
        try:
            number, signature = int(arguments[1]), bytes.fromhex(arguments[2])
            number.to_bytes(8, "big")
        except (ValueError, OverflowError):
            print("a round is a number from 0 on, and its signature 96 hex digits", file=sys.stderr)
            return 64
        value = quicknet(number, signature)
        print(value.hex() if value else "FORGED")
        return 0 if value else CODES["FORGED"]
    if arguments[:1] == ["round"] and len(arguments) == 5:
        try:
            genesis_ms, round_ms, number = (int(n) for n in arguments[1:4])
            signature = bytes.fromhex(arguments[4])
            if min(genesis_ms, round_ms - 1, number - 1) < 0:
                raise ValueError
            of = quicknet_round(genesis_ms, round_ms, number)
            of.to_bytes(8, "big")
        except (ValueError, OverflowError):
            print("give when round 1 began and how long a round is in milliseconds, a round from 1 on, and 96 hex digits", file=sys.stderr)
            return 64
        value = quicknet(of, signature)
        print(f"{value.hex()} round {of}" if value else f"FORGED round {of}")
        return 0 if value else CODES["FORGED"]
    if arguments[:1] != ["receipt"] or len(arguments) < 3:
        print(__doc__)
        return 64

    def read(name):
        with open(name, "rb") as file:
            return file.read()
    options, later, rest = {}, [], arguments[3:]
    while rest:
        if rest[0] == "--later":
            later.append((read(rest[1]), read(rest[2])))
            rest = rest[3:]
        else:
            options[rest[0]] = rest[1]
            rest = rest[2:]
    keys = directory(read(options["--directory"]), bytes.fromhex(options["--authority"]))
    rules = policy(read(options["--policy"]).decode())
    outcome = verify(read(arguments[1]), read(arguments[2]), rules, keys, later)
    print(outcome)
    return CODES[outcome]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
