// One live view at a time: this script opens it through our server (WHEP), shows it, counts down, and says why it
// ended. The video itself comes straight from Ring. Without this script there is no live view, and the page says so.

const POLL_MS = 2_000;
const POLL_LIMIT_MS = 5_000;
/** The time for the browser to find all of its addresses. Without a STUN server most are there at once. */
const GATHERING_LIMIT_MS = 5_000;
const OPENING_LIMIT_MS = 25_000;
/** The longest time that a live view lasts. */
const LONGEST_MS = 60_000;
/** The time for a broken connection to come back, which it often does. */
const RECOVERY_LIMIT_MS = 5_000;

const ENDS = {
  CLOSED: 'The live view is closed.',
  CLOSED_HERE: 'The live view is closed here. At Ring it ends by itself, within a minute.',
  TIME_LIMIT: 'Ring ends a live view after a minute at most. You can watch again.',
  DEVICE_OFFLINE: 'The live view ended because the device went offline. Check that it has power and Wi-Fi.',
  DEVICE_REMOVED: 'The live view ended because this device is no longer shared in the Ring app.',
  SUBSCRIPTION:
    'The live view ended because no active subscription covers this device any more. You can renew it in the Ring app.',
  LINK_REMOVED: 'The live view ended because the app was removed in the Ring app.',
  FAILED: 'The live view could not be opened. Please try again in a moment.',
  LOST: 'The picture has stopped: Ring has ended the live view early, or your connection broke. You can watch again.',
  SIGNED_OUT: 'You are signed out. Reload the page to sign in again.',
  NO_ADDRESS: 'Your browser found no network address for the video. Check your connection, then try again.',
  NO_WEBRTC: 'Your browser does not allow live video (WebRTC). Allow it in the settings, or use another browser.',
};

class Problem extends Error {}

const panel = document.querySelector('[data-live-views]');
if (panel) setUp(panel);

function setUp(panel) {
  const video = panel.querySelector('video');
  const button = panel.querySelector('button');
  const status = panel.querySelector('[role="status"]');
  const timer = panel.querySelector('[role="timer"]');
  const csrf = { 'x-csrf-token': panel.dataset.csrf };
  const sound = addButton(button, 'Turn sound on', () => {
    video.muted = !video.muted;
    sound.textContent = video.muted ? 'Turn sound on' : 'Turn sound off';
  });
  const screen = addButton(sound, 'Full screen', () => void toggleFullScreen(panel, video));
  panel.addEventListener('fullscreenchange', () => {
    screen.textContent = document.fullscreenElement ? 'Leave full screen' : 'Full screen';
  });
  /** The live view that is opening or open: {peer, address, endsAt, ticking, isLost, endsByItself}. */
  let view = null;

  button.hidden = false;
  button.addEventListener('click', () => {
    if (view) close();
    else open();
  });
  addEventListener('pagehide', () => {
    if (view) close();
  });

  async function open() {
    const opening = { peer: newPeer(panel.dataset.stun) };
    if (!opening.peer) {
      status.textContent = ENDS.NO_WEBRTC;
      return;
    }
    view = opening;
    panel.dataset.state = 'opening';
    button.textContent = 'Cancel';
    status.textContent = 'Opening the live view. This can take a few seconds.';
    try {
      await connect(opening);
      if (view === opening) watch(opening);
    } catch (error) {
      if (view !== opening) return;
      void hangUp(opening);
      end(error instanceof Problem ? error.message : ENDS.FAILED);
      void showNow();
    }
  }

  async function connect(opening) {
    const { peer } = opening;
    peer.addTransceiver('video', { direction: 'recvonly' });
    peer.addTransceiver('audio', { direction: 'recvonly' });
    const stream = new MediaStream();
    peer.addEventListener('track', ({ track }) => {
      if (view !== opening) return;
      stream.addTrack(track);
      video.srcObject = stream;
      // It stays muted until it is asked for: others may be in the room.
      if (track.kind === 'audio') sound.hidden = false;
    });
    let recovery;
    peer.addEventListener('connectionstatechange', () => {
      clearTimeout(recovery);
      const patience = { failed: 0, disconnected: RECOVERY_LIMIT_MS }[peer.connectionState];
      if (patience !== undefined) recovery = setTimeout(() => void lose(opening, ENDS.LOST), patience);
    });
    await peer.setLocalDescription();
    await gathered(peer);
    if (view !== opening) return;
    // Ring takes the addresses with the offer, and none later.
    if (!/^a=candidate:/m.test(peer.localDescription.sdp)) throw new Problem(ENDS.NO_ADDRESS);
    const response = await fetch(panel.dataset.liveViews, {
      method: 'POST',
      headers: { 'content-type': 'application/sdp', ...csrf },
      body: peer.localDescription.sdp,
      signal: AbortSignal.timeout(OPENING_LIMIT_MS),
    });
    if (response.status !== 201) throw new Problem(await problemOf(response));
    opening.address = response.headers.get('location');
    // The user cancelled while it opened.
    if (view !== opening) void hangUp(opening);
    else await peer.setRemoteDescription({ type: 'answer', sdp: await response.text() });
  }

  function watch(opening) {
    panel.dataset.state = 'open';
    video.hidden = false;
    screen.hidden = !canBeFullScreen(video);
    button.textContent = 'End live view';
    status.textContent = 'You are watching live.';
    opening.endsAt = performance.now() + LONGEST_MS;
    opening.ticking = setInterval(() => tick(opening), 1_000);
    void follow(opening);
  }

  /** Asks our server, which knows first when the device goes offline or is removed. */
  async function follow(watched) {
    while (view === watched) {
      await ask(watched);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Asks our server how long the live view goes on, or whether it has ended. A failed request is repeated. */
  async function ask(watched) {
    const signal = AbortSignal.timeout(POLL_LIMIT_MS);
    const response = await fetch(watched.address, { signal }).catch(() => null);
    const told = await response?.json().catch(() => null);
    if (view !== watched || !response) return;
    if ([401, 403].includes(response.status)) end(ENDS.SIGNED_OUT);
    else if (response.status === 404) end(ENDS.CLOSED);
    else if (response.ok && told?.status === 'ENDED') {
      end(ENDS[told.endReason] ?? ENDS.LOST);
      void showNow();
    } else if (response.ok && told) {
      watched.endsByItself = told.endsByItself;
      // A slow answer must not make the time longer.
      watched.endsAt = Math.min(watched.endsAt, performance.now() + told.secondsLeft * 1_000);
      tick(watched);
    }
  }

  function tick(watched) {
    const left = Math.max(0, Math.ceil((watched.endsAt - performance.now()) / 1_000));
    timer.textContent = `At most ${left} ${left === 1 ? 'second' : 'seconds'} left`;
    if (left === 0) void lose(watched, ENDS.TIME_LIMIT);
  }

  /** Ends a live view whose video has stopped. Our server may know why. */
  async function lose(watched, message) {
    if (view !== watched || watched.isLost) return;
    watched.isLost = true;
    if (watched.address) await ask(watched);
    if (view !== watched) return;
    void hangUp(watched);
    end(message);
  }

  function close() {
    void hangUp(view);
    end(view.endsByItself ? ENDS.CLOSED_HERE : ENDS.CLOSED);
  }

  /** Closes the live view at our server, even while the page is being left. */
  async function hangUp({ address }) {
    if (address) await fetch(address, { method: 'DELETE', headers: csrf, keepalive: true }).catch(() => null);
  }

  function end(message) {
    clearInterval(view.ticking);
    view.peer.close();
    view = null;
    panel.dataset.state = 'idle';
    video.srcObject = null;
    video.hidden = true;
    video.muted = true;
    if (document.fullscreenElement) void document.exitFullscreen().catch(() => null);
    // The focus must not go with the button that it is on.
    if ([sound, screen].includes(document.activeElement)) button.focus();
    sound.hidden = true;
    sound.textContent = 'Turn sound on';
    screen.hidden = true;
    timer.textContent = '';
    button.textContent = 'Watch live';
    status.textContent = message;
  }
}

/** A button after another one, hidden until it can do something. */
function addButton(other, words, act) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'button quiet';
  button.textContent = words;
  button.hidden = true;
  button.addEventListener('click', act);
  other.after(button);
  return button;
}

/** Shows the whole panel, with its words and buttons. An iPhone shows nothing but videos so. */
async function toggleFullScreen(panel, video) {
  if (document.fullscreenElement) await document.exitFullscreen().catch(() => null);
  else if (panel.requestFullscreen) await panel.requestFullscreen().catch(() => null);
  else video.webkitEnterFullscreen();
}

const canBeFullScreen = (video) => Boolean(document.fullscreenEnabled || video.webkitEnterFullscreen);

/**
 * Null if settings or an extension forbid WebRTC.
 *
 * @param stun the URLs of servers that tell the browser its address on the internet, comma-separated
 */
function newPeer(stun) {
  try {
    return new RTCPeerConnection({ iceServers: stun ? [{ urls: stun.split(',') }] : [] });
  } catch {
    return null;
  }
}

/** Updates the rest of the page, as the device may be offline or removed by now. */
async function showNow() {
  const signal = AbortSignal.timeout(POLL_LIMIT_MS);
  const response = await fetch(location.href, { cache: 'no-store', signal }).catch(() => null);
  const text = response && response.status < 500 && (await response.text().catch(() => null));
  if (!text) return;
  const now = new DOMParser().parseFromString(text, 'text/html');
  for (const stale of document.querySelectorAll('[data-now]')) {
    const fresh = now.querySelector(`[data-now="${stale.dataset.now}"]`);
    if (fresh) stale.replaceWith(fresh);
    else stale.remove();
  }
}

/** Waits until the browser has found all of its addresses, or for as long as a user is kept waiting for more. */
function gathered(peer) {
  return new Promise((resolve) => {
    setTimeout(resolve, GATHERING_LIMIT_MS);
    const look = () => {
      if (peer.iceGatheringState === 'complete') resolve();
    };
    peer.addEventListener('icegatheringstatechange', look);
    look();
  });
}

/** The words of our server about a refusal. They are written for people. */
async function problemOf(response) {
  const problem = await response.json().catch(() => null);
  return problem?.detail ?? ENDS.FAILED;
}
