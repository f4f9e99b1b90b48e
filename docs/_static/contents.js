"use strict";
// On a phone the contents of a page lie over it: who has chosen a section wants to see it.
document.addEventListener("click", event => event.target.closest('dialog a[href^="#"]')?.closest("dialog").close());

// What scrolls sideways is reached by keys; what does not is no stop on their way. (conf.py makes all of it one, for where no script runs.)
const reach = new ResizeObserver(seen => {
  for (const {target} of seen) {
    const box = target.closest(".wide");
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else if (box != document.activeElement) box.removeAttribute("tabindex");
  }
});
const watch = () => { for (const part of document.querySelectorAll(".wide, .wide > *")) reach.observe(part); };
for (const when of ["DOMContentLoaded", "made"]) document.addEventListener(when, watch);
