import { describe, expect, it } from "vitest";
import { ceilingOf, codecsIn, codecsMadeBy, displayLimits, hourlyWords, kbpsAtMost, wishOf, type Choices } from "../src/stream/choices.ts";
import { chooseCodecs } from "../src/stream/sdp.ts";

const AUTO: Choices = { kbpsMax: null, heightMax: null, fpsMax: null, dataSaver: false };
const SMALL = { width: 1280, height: 720, hz: 60 };

describe("the player's choices", () => {
  it("go up to what a slot was measured for, or to what a GPU does", () => {
    expect(displayLimits(AUTO, ceilingOf(SMALL, "none"))).toEqual({ heightMax: 720, hz: { max: 60 } });
    expect(displayLimits(AUTO, ceilingOf(undefined, undefined))).toEqual({ heightMax: 720, hz: { max: 60 } });
    expect(displayLimits(AUTO, ceilingOf(SMALL, "render"))).toEqual({ heightMax: 1080, hz: { max: 144 } });
  });
  it("have the last word where there is one", () => {
    const chosen = { ...AUTO, heightMax: 1440, fpsMax: 120 };
    expect(displayLimits(chosen, ceilingOf(SMALL, "none"))).toEqual({ heightMax: 1440, hz: { exact: 120 } });
    expect(wishOf({ ...chosen, kbpsMax: 20_000 })).toEqual({ kind: "wish", kbpsMax: 20_000, heightMax: 1440, fpsMax: 120 });
  });
  it("wish for nothing by themselves", () => expect(wishOf(AUTO)).toEqual({ kind: "wish", kbpsMax: 0, heightMax: 0, fpsMax: 0 }));
  it("give way to the data saver, and never to more than was chosen", () => {
    expect(wishOf({ ...AUTO, kbpsMax: 50_000, heightMax: 1440, fpsMax: 144, dataSaver: true })).toEqual({ kind: "wish", kbpsMax: 3_000, heightMax: 720, fpsMax: 60 });
    expect(wishOf({ ...AUTO, kbpsMax: 2_000, fpsMax: 30, dataSaver: true })).toEqual({ kind: "wish", kbpsMax: 2_000, heightMax: 720, fpsMax: 30 });
    expect(displayLimits({ ...AUTO, dataSaver: true }, ceilingOf(SMALL, "render-encode"))).toEqual({ heightMax: 720, hz: { max: 60 } });
    expect(displayLimits({ ...AUTO, fpsMax: 144, dataSaver: true }, ceilingOf(SMALL, "render"))).toEqual({ heightMax: 720, hz: { exact: 60 } });
  });
  it("get no more than the node gives, and cost no more than that", () => {
    expect(kbpsAtMost({ ...AUTO, kbpsMax: 50_000 }, 12_960)).toBe(12_960);
    expect(kbpsAtMost(AUTO, 12_960)).toBe(12_960);
    expect(kbpsAtMost({ ...AUTO, kbpsMax: 50_000, dataSaver: true }, 12_960)).toBe(3_000);
    expect(kbpsAtMost({ ...AUTO, kbpsMax: 50_000 }, null)).toBe(50_000);
    expect(kbpsAtMost(AUTO, null)).toBeNull();
  });
  it("cost what they cost", () => {
    expect([100, 3_000, 8_000, 50_000].map(hourlyWords)).toEqual(["45 MB", "1.4 GB", "3.6 GB", "23 GB"]);
  });
});

describe("codecs", () => {
  it("are offered where the browser has them", () => {
    expect(codecsIn(["video/VP8", "video/rtx", "video/H264", "video/AV1", "video/H264"])).toEqual(["H264", "AV1"]);
  });
  it("are offered where the node makes them, or while that is not known", () => {
    const known = codecsIn(["video/H264", "video/VP9", "video/AV1", "video/H265"]);
    expect(codecsMadeBy(known, ["x264enc", "vp8enc", "vp9enc"])).toEqual(["H264", "VP9"]);
    expect(codecsMadeBy(known, ["nvautogpuh265enc", "svtav1enc"])).toEqual(["AV1", "H265"]);
    expect(codecsMadeBy(known, undefined)).toEqual(known);
  });
  const offer = ["video/VP8", "video/rtx", "video/VP9", "video/AV1", "video/H264", "video/flexfec-03"].map((mimeType) => ({ mimeType }));
  const names = (only: string | null) => chooseCodecs(offer, only).map(({ mimeType }) => mimeType.slice(6));
  it("are all offered where none is wanted, what mends losses last", () => {
    expect(names(null)).toEqual(["H264", "VP8", "VP9", "AV1", "rtx", "flexfec-03"]);
  });
  it("are offered alone where one is wanted, with what mends losses", () => {
    expect(names("AV1")).toEqual(["AV1", "rtx", "flexfec-03"]);
    expect(names("H265")).toEqual(names(null));
  });
});
