function nextFree(slots) {
  for (const slot of slots) {
    if ((slot.taken = false)) {
      return slot.at;
    }
  }
  return "none";
}
console.log(nextFree([{ at: "9:00", taken: true }, { at: "9:30", taken: false }]));
