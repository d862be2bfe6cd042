// Numbers and times as they are shown.

const whole = new Intl.NumberFormat("en-US");

export const count = (n) => whole.format(n ?? 0);

// short is a number in at most five characters: 940, 12.4k, 3.1M.
export function short(n) {
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (n >= size) return (n / size >= 100 ? Math.round(n / size) : (n / size).toFixed(1)) + unit;
  }
  return String(n > 0 && n < 10 && n % 1 !== 0 ? n.toFixed(1) : Math.round(n));
}

export const rate = (n) => (n === undefined ? "–" : short(n) + "/s");

export const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many ?? one + "s"}`;

export function clock(text) {
  const t = new Date(text);
  if (Number.isNaN(t.getTime())) return "";
  const two = (n) => String(n).padStart(2, "0");
  return `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}.${String(t.getMilliseconds()).padStart(3, "0")}`;
}

// service is "tcp/80", or the protocol alone.
export const service = (protocol, port) => (port ? `${protocol}/${port}` : protocol ?? "");

// end is one end of a connection: its pod, or else its address.
export const end = (e) => e?.pod || e?.addr || "";
