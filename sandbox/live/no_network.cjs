// Loaded before n8n: no connection but to the instance's own ports on this machine, whoever in the process asks.
'use strict';
const net = require('node:net');
const dgram = require('node:dgram');

const own = new Set((process.env.OPSCONSOLE_OWN_PORTS || '').split(',').map(Number));
const here = new Set(['127.0.0.1', '::1', 'localhost', undefined, null, '']);

function refusal(where) {
  const error = new Error(`This n8n is a rehearsal and reaches nothing outside itself: ${where} was refused`);
  error.code = 'ECONNREFUSED';
  return error;
}

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  // Node's own callers hand over one list of normalized arguments.
  const [first, second] = Array.isArray(given[0]) ? given[0] : given;
  const options =
    typeof first === 'object' && first !== null
      ? first
      : { port: first, host: typeof second === 'string' ? second : undefined };
  if (!options.path && own.has(Number(options.port)) && here.has(options.host)) {
    return connect.apply(this, given);
  }
  process.nextTick(() => this.destroy(refusal(options.path || `${options.host}:${options.port}`)));
  return this;
};

dgram.Socket.prototype.send = function (...given) {
  const done = given[given.length - 1];
  if (typeof done === 'function') process.nextTick(() => done(refusal('a datagram')));
};
dgram.Socket.prototype.connect = function () {
  throw refusal('a datagram');
};
