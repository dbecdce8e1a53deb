// The map: one rectangle per cell, shaded by forecast demand; a click selects a cell.

const LETTERS = "0123456789bcdefghjkmnpqrstuvwxyz";

/** Bounds of a geohash, degrees. */
export function bounds(text) {
  let south = -90, north = 90, west = -180, east = 180, longitude = true;
  for (const letter of text) {
    for (let bit = 16; bit; bit >>= 1) {
      const high = LETTERS.indexOf(letter) & bit;
      if (longitude) { const mid = (west + east) / 2; if (high) west = mid; else east = mid; }
      else { const mid = (south + north) / 2; if (high) south = mid; else north = mid; }
      longitude = !longitude;
    }
  }
  return { south, north, west, east };
}

/** Draw cells ({cell, amount}, busiest first); returns a function from canvas pixels to a cell. */
export function drawMap(canvas, cells, chosen) {
  const width = canvas.clientWidth, height = canvas.clientHeight, scale = window.devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const paint = canvas.getContext("2d");
  paint.scale(scale, scale);
  const placed = cells.map((entry) => ({ ...entry, ...bounds(entry.cell) }));
  if (!placed.length) return () => null;
  // The frame shows the middle 98 % of the demand, without outliers.
  const [south, north] = spread(placed, (p) => (p.south + p.north) / 2), [west, east] = spread(placed, (p) => (p.west + p.east) / 2);
  const squeeze = Math.cos(((south + north) / 2) * Math.PI / 180);
  const span = Math.max((north - south) / (height - 24), (east - west) * squeeze / (width - 24)) || 1e-6;
  const x = (lon) => width / 2 + (lon - (west + east) / 2) * squeeze / span, y = (lat) => height / 2 - (lat - (south + north) / 2) / span;
  const rgb = getComputedStyle(canvas).getPropertyValue("--heat"), ink = getComputedStyle(canvas).getPropertyValue("--base");
  const most = Math.max(...placed.map((p) => p.amount), 1e-9);
  for (const p of placed) {
    paint.fillStyle = `rgba(${rgb}, ${0.08 + 0.92 * Math.sqrt(p.amount / most)})`;
    paint.fillRect(x(p.west) + 0.5, y(p.north) + 0.5, Math.max(1.5, x(p.east) - x(p.west) - 1), Math.max(1.5, y(p.south) - y(p.north) - 1));
  }
  const mine = placed.find((p) => p.cell === chosen);
  if (mine) {
    paint.strokeStyle = ink;
    paint.lineWidth = 2.5;
    paint.strokeRect(x(mine.west) - 1, y(mine.north) - 1, x(mine.east) - x(mine.west) + 2, y(mine.south) - y(mine.north) + 2);
  }
  return (px, py) => placed.find((p) => px >= x(p.west) && px < x(p.east) && py >= y(p.north) && py < y(p.south))?.cell ?? null;
}

function spread(placed, middle) {
  const sorted = [...placed].sort((a, b) => middle(a) - middle(b));
  const total = sorted.reduce((sum, p) => sum + p.amount, 0);
  let sum = 0, low = null, high = middle(sorted[sorted.length - 1]);
  for (const p of sorted) {
    sum += p.amount;
    if (low === null && sum >= total * 0.01) low = middle(p);
    if (sum >= total * 0.99) { high = middle(p); break; }
  }
  return [low ?? middle(sorted[0]), high];
}
