/** Writes numbers of any count of bits, the highest bit first. */
export class BitWriter {
  readonly #bytes: number[] = [];
  #pending = 0;
  #count = 0;

  /** @param length at most 24 */
  put(value: number, length: number): this {
    for (let bit = length - 1; bit >= 0; bit -= 1) {
      this.#pending = (this.#pending << 1) | ((value >> bit) & 1);
      this.#count += 1;
      if (this.#count < 8) continue;
      this.#bytes.push(this.#pending);
      this.#pending = 0;
      this.#count = 0;
    }
    return this;
  }

  get isAligned(): boolean {
    return this.#count === 0;
  }

  /** Fills the last byte up with a bit. */
  align(bit: 0 | 1): this {
    while (!this.isAligned) this.put(bit, 1);
    return this;
  }

  append(bytes: readonly number[]): this {
    if (this.isAligned) for (const byte of bytes) this.#bytes.push(byte);
    else for (const byte of bytes) this.put(byte, 8);
    return this;
  }

  toBytes(): number[] {
    return [...this.#bytes];
  }
}
