// SPDX-License-Identifier: GPL-2.0
// A message of a card, as the package iso_8583 makes it, with two bytes of length in
// front; in hexadecimal digits. Usage: node iso8583_message.js CARD TRACE
const path = require('path');
const Iso8583 = require(path.join(__dirname, '../../build/npm/node_modules/iso_8583'));

const [card, trace] = process.argv.slice(2);
const message = new Iso8583({
  0: '0200', 2: card, 3: '000000', 4: '000000005000', 7: '1121174000', 11: trace, 12: '174000', 18: '5999',
  22: '051', 32: '12345678', 37: '000000000001', 41: 'TERM0001', 42: 'MERCHANT0000001', 49: '978',
});
const bytes = message.getBufferMessage();
if (!Buffer.isBuffer(bytes)) {
  console.error(bytes);
  process.exit(1);
}
console.log(bytes.toString('hex'));
