/* Search without a server: PLACES is in places.js, one [title, address, kind, text] for each call and each section. */
(function () {
	"use strict";
	var input = document.querySelector(".search input"), found = document.getElementById("found");

	/* On a desk the contents are open; on a phone they are opened. */
	var contents = document.querySelector("nav.contents details");
	if (contents && window.matchMedia("(max-width: 55rem)").matches)
		contents.open = false;

	/* How well a place fits all words: 0 is not at all. A title counts more than a text, its beginning more than its middle. */
	function fits(place, words) {
		var title = place[0].toLowerCase(), text = place[3].toLowerCase(), sum = 0;

		for (var i = 0; i < words.length; i++) {
			var at = title.indexOf(words[i]);
			if (title === words[i])
				sum += 100;
			else if (at === 0)
				sum += 40;
			else if (at > 0)
				sum += 20;
			else if (text.indexOf(words[i]) >= 0)
				sum += 2;
			else
				return 0;
		}
		return sum + (place[2] === "call" ? 5 : 0) + 10 / (10 + title.length);
	}

	function excerpt(text, word) {
		var at = Math.max(0, text.toLowerCase().indexOf(word) - 40);

		return (at ? "\u2026" : "") + text.substr(at, 140);
	}

	function show(places, words) {
		found.textContent = "";
		places.forEach(function (place) {
			var item = document.createElement("li"), link = document.createElement("a"), small = document.createElement("small");

			link.href = place[1];
			link.textContent = place[0];
			small.textContent = place[2] + ": " + excerpt(place[3], words[0]);
			link.appendChild(small);
			item.appendChild(link);
			found.appendChild(item);
		});
		if (!places.length) {
			var none = document.createElement("li");
			none.className = "none";
			none.textContent = "Nothing found.";
			found.appendChild(none);
		}
	}

	function search() {
		var words = input.value.toLowerCase().split(/[\s()]+/).filter(Boolean);

		found.textContent = "";
		if (!words.length)
			return;
		show(PLACES.map(function (place) { return [fits(place, words), place]; })
			.filter(function (one) { return one[0]; })
			.sort(function (a, b) { return b[0] - a[0]; })
			.slice(0, 12).map(function (one) { return one[1]; }), words);
	}

	function choose(step) {
		var links = Array.prototype.slice.call(found.querySelectorAll("a")), at = links.findIndex(function (a) { return a.className; });

		if (!links.length)
			return;
		if (at >= 0)
			links[at].className = "";
		links[(at + step + links.length + (at < 0 && step < 0 ? 1 : 0)) % links.length].className = "chosen";
	}

	input.addEventListener("input", search);
	input.addEventListener("keydown", function (event) {
		var link = found.querySelector("a.chosen") || found.querySelector("a");

		if (event.key === "ArrowDown" || event.key === "ArrowUp") {
			choose(event.key === "ArrowDown" ? 1 : -1);
			event.preventDefault();
		} else if (event.key === "Enter" && link) {
			location.href = link.href;
			found.textContent = "";
		} else if (event.key === "Escape") {
			input.value = "";
			found.textContent = "";
		}
	});
	document.addEventListener("keydown", function (event) {
		if (event.key === "/" && !/INPUT|TEXTAREA/.test(document.activeElement.tagName)) {
			input.focus();
			event.preventDefault();
		}
	});
	document.addEventListener("click", function (event) {
		if (!event.target.closest(".search"))
			found.textContent = "";
	});
	if (location.hash.indexOf("#search=") === 0) {
		input.value = decodeURIComponent(location.hash.slice(8));
		search();
	}
})();
