// A video that goes on while the address of its bytes changes.
//
// A pre-signed URL dies; the service says when to ask for another (`refreshAfter`). A <video> whose
// `src` is changed begins anew and shows nothing for a moment. So a second one is made ready under the
// first, a little ahead; when the first arrives there, they change places. The same is done for another
// rendition.
//
// A store that is gone for a while is asked again and again, and the video goes on where it stood.

import { h } from "./dom.js";

// How far ahead the next one waits: time enough to decode a frame, and nobody waits for it.
const LEAD_SECONDS = 0.6;
const READY = HTMLMediaElement.HAVE_FUTURE_DATA;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const ASKED_AGAIN_MS = 3000;
// A browser waits for a store that says nothing for ever.
const SILENCE_MS = 3000;
const SILENT_ASKED_AGAIN_MS = 15_000;

/**
 * Tells `progress` (the time, now and then), `ended`, `moved` (the source was changed without a stop),
 * `held` (its store gives nothing; `detail` is why) and `restored` (it does again).
 */
export class Video extends EventTarget {
  #locate;
  #stage;
  #current = null;
  #next = null;
  #source = null;
  #timer = null;
  #rendition = "original";
  #begin = 0;
  /** Since its store gives nothing: where it stood, and whether it played. */
  #lost = null;
  #isTold = false;
  #asking = null;
  #silence = null;

  /**
   * Args:
   *   locate: asks for a source by its rendition: the content's answer (openapi.yaml of content
   *     delivery), with `refreshInMs`.
   *   stage: the element that the video is put into.
   */
  constructor(locate, stage) {
    super();
    this.#locate = locate;
    this.#stage = stage;
  }

  get element() {
    return this.#current;
  }

  /** Shows it at this time, paused; gives the content's answer. */
  async open(atSeconds) {
    const source = await this.#locate(this.#rendition);
    this.#begin = atSeconds;
    const video = this.#make(source);
    video.addEventListener("loadedmetadata", () => {
      if (atSeconds > 0) video.currentTime = Math.min(atSeconds, Math.max(0, video.duration - 1));
    }, { once: true });
    this.#show(video, source);
    return source;
  }

  /** Goes on with another rendition. */
  async choose(rendition) {
    this.#rendition = rendition;
    await this.#renew();
  }

  /** Asks the store again, now. */
  async retry() {
    clearTimeout(this.#asking);
    this.#lose();
    try {
      const source = await this.#locate(this.#rendition);
      if (this.#current && this.#lost) this.#replaceSource(source, this.#lost);
    } catch (error) {
      if (error.name === "AbortError" || !this.#current) return;
      this.#hold(error, ASKED_AGAIN_MS);
    }
  }

  close() {
    for (const timer of [this.#timer, this.#asking, this.#silence]) clearTimeout(timer);
    this.#drop(this.#next);
    this.#drop(this.#current);
    this.#next = this.#current = null;
  }

  async #renew() {
    clearTimeout(this.#timer);
    let source;
    try {
      source = await this.#locate(this.#rendition);
    } catch {
      // The one that plays is good for some time yet.
      this.#schedule(5000);
      return;
    }
    if (!this.#current) return;
    if (source.url === this.#source.url) this.#schedule(Math.max(source.refreshInMs, 1000));
    else if (document.fullscreenElement === this.#current || document.pictureInPictureElement === this.#current) {
      // Only the element itself fills the screen: there it changes its source where it is.
      this.#replaceSource(source);
    } else this.#prepare(source);
  }

  #prepare(source) {
    this.#drop(this.#next);
    const video = this.#make(source);
    this.#next = video;
    video.dataset.role = "next";
    video.muted = true;
    video.tabIndex = -1;
    video.setAttribute("aria-hidden", "true");
    video.controls = false;
    this.#stage.append(video);
    const aim = () => {
      const { currentTime, paused, playbackRate } = this.#current;
      video.currentTime = currentTime + (paused ? 0 : LEAD_SECONDS * playbackRate);
    };
    video.addEventListener("loadedmetadata", aim, { once: true });
    const watch = () => {
      if (this.#next !== video || !this.#current) return;
      const ahead = video.currentTime - this.#current.currentTime;
      const isReady = video.readyState >= READY && !video.seeking;
      const isFar = this.#current.paused ? Math.abs(ahead) > 0.05 : ahead < -0.15 || ahead > 2 * LEAD_SECONDS * this.#current.playbackRate;
      if (isReady && isFar) aim(); // somebody has moved it, or it took too long
      else if (isReady && (this.#current.paused || this.#current.ended || ahead <= 0.02)) {
        this.#swap(video, source);
        return;
      }
      requestAnimationFrame(watch);
    };
    requestAnimationFrame(watch);
  }

  #swap(video, source) {
    const before = this.#current;
    const { paused, muted, volume, playbackRate } = before;
    Object.assign(video, { volume, playbackRate, muted: true });
    const shownTracks = [...before.textTracks].map((track) => track.mode);
    [...video.textTracks].forEach((track, index) => (track.mode = shownTracks[index] ?? track.mode));
    const isFocused = document.activeElement === before;
    this.#next = null;
    delete video.dataset.role;
    video.removeAttribute("aria-hidden");
    video.removeAttribute("tabindex");
    video.controls = true;
    const take = () => {
      video.muted = muted;
      this.#show(video, source);
      if (isFocused) video.focus();
      this.dispatchEvent(new Event("moved"));
    };
    if (paused) take();
    else video.play().then(take, take);
  }

  #show(video, source) {
    const before = this.#current;
    this.#current = video;
    this.#source = source;
    if (before) this.#restore();
    if (!video.isConnected) this.#stage.append(video);
    this.#drop(before);
    this.#schedule(source.refreshInMs);
  }

  #schedule(milliseconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#renew(), Math.min(Math.max(milliseconds, 0), LONGEST_TIMER_MS));
  }

  #replaceSource(source, { at, isPlaying } = this.#standing()) {
    const video = this.#current;
    this.#source = source;
    video.addEventListener("loadedmetadata", () => {
      if (video.src !== source.url) return;
      video.currentTime = at;
      if (isPlaying) video.play().catch(() => {});
    }, { once: true });
    video.src = source.url;
    this.#schedule(source.refreshInMs);
  }

  #drop(video) {
    if (!video) return;
    video.pause();
    video.remove();
    // Ends its download.
    video.removeAttribute("src");
    video.load();
  }

  #make(source) {
    const tracks = source.captions.map((caption) =>
      h("track", { kind: caption.kind, src: caption.url, srclang: caption.language, label: languageName(caption.language) }));
    const video = h("video", {
      // With credentials of the URL alone; text tracks of another origin need it said.
      crossorigin: "anonymous", controls: true, playsinline: true, preload: "auto",
      src: source.url, "aria-label": source.title,
    }, tracks);
    const ifShown = (tell) => () => video === this.#current && tell();
    for (const name of ["timeupdate", "pause", "seeked"]) {
      video.addEventListener(name, ifShown(() => this.dispatchEvent(new CustomEvent("progress", { detail: name }))));
    }
    video.addEventListener("ended", ifShown(() => this.dispatchEvent(new Event("ended"))));
    video.addEventListener("canplay", ifShown(() => this.#restore()));
    // Who moves it, starts it or stops it while it waits, means where and how it goes on.
    video.addEventListener("seeking", ifShown(() => this.#lost && Object.assign(this.#lost, { at: video.currentTime })));
    video.addEventListener("play", ifShown(() => this.#lost && Object.assign(this.#lost, { isPlaying: true })));
    video.addEventListener("pause", ifShown(() => this.#lost && Object.assign(this.#lost, { isPlaying: false })));
    for (const name of ["waiting", "stalled"]) video.addEventListener(name, ifShown(() => this.#listen()));
    video.addEventListener("error", () => {
      if (video === this.#next) {
        this.#drop(video);
        this.#next = null;
        this.#schedule(5000);
      } else if (video === this.#current) this.#recover();
    });
    return video;
  }

  /** The URL has died (the machine slept), or the store does not answer: once more with a fresh one. */
  #recover() {
    if (!this.#lost) this.retry();
    else this.#hold(new Error("The store of the content does not give it out."), ASKED_AGAIN_MS);
  }

  /** Nothing comes: that may be a network's breath, or a store that hangs. */
  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      const { readyState, paused, ended } = this.#current;
      const isShort = readyState < READY && !ended && (!paused || readyState < HTMLMediaElement.HAVE_CURRENT_DATA);
      if (isShort) this.#hold(new Error("The store of the content does not answer."), SILENT_ASKED_AGAIN_MS);
    }, SILENCE_MS);
  }

  #standing() {
    const { currentTime, paused, readyState } = this.#current;
    // Before there is anything to see, it stands where it is to begin.
    return { at: readyState < HTMLMediaElement.HAVE_METADATA ? this.#begin : currentTime, isPlaying: !paused };
  }

  #lose() {
    this.#lost ??= this.#standing();
  }

  #hold(error, askedAgainMs) {
    this.#lose();
    clearTimeout(this.#asking);
    this.#asking = setTimeout(() => this.retry(), askedAgainMs);
    this.#isTold = true;
    this.dispatchEvent(new CustomEvent("held", { detail: error }));
  }

  #restore() {
    clearTimeout(this.#asking);
    clearTimeout(this.#silence);
    this.#lost = null;
    if (this.#isTold) this.dispatchEvent(new Event("restored"));
    this.#isTold = false;
  }
}

export function languageName(tag) {
  try {
    return new Intl.DisplayNames(navigator.languages, { type: "language" }).of(tag) ?? tag;
  } catch {
    return tag;
  }
}
