"""What schemathesis does not know by itself: media types of the API that are plain text, and archives."""

import schemathesis


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag", "application/x-tar")
def plain(ctx, value):
    """A body as it is; one that is made up of something else, as its text."""
    if isinstance(value, bytes):
        return value
    return str(value).encode("utf-8", errors="surrogatepass")
