// A page opened from the disk may not start a worker, which the search needs: a hidden frame does its work.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      const opening = 'const own = self.postMessage.bind(self);' +
        'self.postMessage = (data, to) => to ? own(data, to) : parent.postMessage(data, "*");';
      this.frame.srcdoc = `<script>${opening}<\/script><script src="${new URL(url, location)}"><\/script>`;
      this.frame.onload = () => {
        const waiting = this.waiting;
        this.waiting = null;
        waiting.forEach((data) => this.postMessage(data));
      };
      addEventListener("message", (event) => {
        if (event.source === this.frame.contentWindow) {
          this.dispatchEvent(new MessageEvent("message", { data: event.data }));
        }
      });
      document.body.append(this.frame);
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else this.frame.contentWindow.postMessage(data, "*");
    }
    terminate() {
      this.frame.remove();
    }
  };
}
