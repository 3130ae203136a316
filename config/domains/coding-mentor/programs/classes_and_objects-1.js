class Timer {
  constructor() {
    this.laps = 0;
  }
  lap() {
    this.laps += 1;
    return this.laps;
  }
}
const lap = new Timer().lap;
console.log("laps: " + lap());
