"use strict";
// On a phone the contents of a page lie over it: who has chosen a section wants to see it.
document.addEventListener("click", event => event.target.closest('dialog a[href^="#"]')?.closest("dialog").close());
