"""What schemathesis does not know by itself: media types of the API that are plain text."""

import schemathesis


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def plain(ctx, value):
    """A body as it is; one that is made up of something else, as its text."""
    if isinstance(value, bytes):
        return value
    return str(value).encode("utf-8", errors="surrogatepass")
