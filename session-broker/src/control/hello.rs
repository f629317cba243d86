//! What an edge says of itself first, and whether it is taken. What was decided about the node, and how many attach
//! at once, is looked at elsewhere.

use nearlight_protocol::control::{Hello, PROTOCOL_VERSION};
use nearlight_protocol::limits::NODE_NAME_BYTES_MAX;
use nearlight_protocol::plain::is_plain_text;

/// Why an edge is not taken.
pub(super) fn check(hello: &Hello, certified: Option<&String>) -> Result<(), String> {
    if !(hello.proto_min..=hello.proto_max).contains(&PROTOCOL_VERSION) {
        return Err(format!(
            "this broker speaks version {PROTOCOL_VERSION} of the control stream, the edge {} to {}",
            hello.proto_min, hello.proto_max
        ));
    }
    let expected = format!("spiffe://nearlight/node/{}", hello.node);
    if certified != Some(&expected) {
        let shown = certified.map_or("none of ours", String::as_str);
        return Err(format!(
            "the hello is of {}, the certificate is for {shown}",
            hello.node
        ));
    }
    let told = [
        ("name", &hello.name),
        ("region", &hello.region),
        ("build", &hello.build),
    ];
    for (key, text) in told {
        if !is_plain_text(text, NODE_NAME_BYTES_MAX) {
            return Err(format!(
                "the edge's `{key}` is at most {NODE_NAME_BYTES_MAX} bytes without control characters"
            ));
        }
    }
    Ok(())
}
