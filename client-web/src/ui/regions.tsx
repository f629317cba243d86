/** Where to play: the nearest region, or the one that the player chooses. Nothing where there is no choice. */
import { regionWords, type RegionModel } from "./region-model.ts";

export function RegionChoice({ model }: { readonly model: RegionModel }) {
  const shown = model.shown.value;
  if (shown.length < 2) return null;
  const nearest = shown.find(({ region, ping }) => ping !== null && region.state !== "offline");
  const chosen = shown.some(({ region }) => region.name === model.chosen.value) ? model.chosen.value : null;
  return (
    <label class="choice">
      <span>Region</span>
      <select data-field="region" value={chosen ?? ""} onChange={(event) => (model.chosen.value = event.currentTarget.value || null)}>
        <option value="">{nearest ? `Auto: ${nearest.region.title}` : "Auto: the nearest"}</option>
        {shown.map((one) => (
          <option
            key={one.region.name}
            value={one.region.name}
            disabled={one.region.state === "offline"}
            data-ping={one.ping?.ms.toFixed(1)}
            data-by={one.ping?.by}
          >
            {regionWords(one)}
          </option>
        ))}
      </select>
    </label>
  );
}
